"""Recognise what a file holds by its first bytes: which files are recordings, and what the others are instead."""

import re
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple


def words_in(text: str) -> frozenset[str]:
    """Return the words of a text, which blanks divide."""
    return frozenset(text.split())


#: Endings of the files that libsndfile reads; GTZAN's own files have .au.
READABLE_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".snd", ".caf"}
#: Further endings of audio files. ffmpeg reads most of them.
_OTHER_AUDIO_SUFFIXES = words_in(
    ".m4a .m4b .m4p .m4r .mp4 .aac .alac .wma .asf .ape .mpc .wv .ra .rm .amr .3gp .3ga .webm .weba .mka .tta .ac3 "
    ".dts .dsf .aax .mp2 .mpga .aifc .wave .bwf .w64 .rf64"
)
AUDIO_SUFFIXES = READABLE_SUFFIXES | _OTHER_AUDIO_SUFFIXES
# Endings of files that are not opened to see whether they are recordings: text, pictures, video, programs, copies of
# other files and downloads that are not complete.
_OTHER_SUFFIXES = words_in(
    ".txt .md .rst .csv .tsv .json .xml .html .htm .pdf .doc .docx .xls .xlsx .nfo .log .cue .m3u .m3u8 .pls .sfv .md5 "
    ".sha1 .sha256 .lrc .url .lnk .ini .db .jpg .jpeg .png .gif .bmp .webp .tif .tiff .svg .heic .ico .psd .zip .rar "
    ".7z .gz .bz2 .xz .tar .tgz .avi .mkv .mov .m4v .wmv .flv .vob .mpg .ts .py .pyc .ipynb .sh .exe .dll .npy .npz "
    ".pt .pkl .h5 .parquet .mid .midi .asd .als .flp .sf2 .bak .old .orig .tmp .part .partial .crdownload .download "
    ".opdownload .aria2"
)
_NUM_BYTES = 1024  # that are looked at
_MOST_TAG_BYTES = 1 << 28  # of ID3 tags, which programs put in front of any format: the most that a tag can have


class Content(NamedTuple):
    """What a file holds.

    Attributes:
        name: of the format, for messages: ``mp3``, ``an HTML page``.
        demuxer: the name of the format in ffmpeg; empty if it is not audio.
        is_for_libsndfile: whether libsndfile reads it, at least most codecs of it.
        hint: what to do about a file that is not audio.
    """

    name: str
    demuxer: str = ""
    is_for_libsndfile: bool = False
    hint: str = ""


_AUDIO = (
    (rb"(?:RIFF|RIFX|RF64)(?:....WAVE|.{0,7}\Z)", Content("wav", "wav", True)),
    (rb"riff\x2e\x91\xcf\x11", Content("w64", "w64", True)),
    (rb"\.snd", Content("au", "au", True)),
    (rb"FORM....AIF[FC]", Content("aiff", "aiff", True)),
    (rb"fLaC", Content("flac", "flac", True)),
    (rb"OggS", Content("ogg", "ogg", True)),
    (rb"caff", Content("caf", "caf", True)),
    # the header of a frame of layer II or III: version, layer, bit rate and sample rate are not the reserved ones
    (rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][\x10-\xef]", Content("mp3", "mp3", True)),
    (rb"....ftyp(?!heic|heix|hevc|mif1|msf1|avif|avis|crx )", Content("m4a or mp4", "mov")),
    (rb"....(?:moov|mdat|wide)", Content("m4a or mp4", "mov")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Content("wma", "asf")),
    (rb"\x1a\x45\xdf\xa3", Content("webm or mka", "matroska")),
    (rb"\xff[\xf0\xf1\xf8\xf9]", Content("aac", "aac")),
    (rb"MAC .[\x0e\x0f]", Content("ape", "ape")),
    (rb"wvpk", Content("wv", "wv")),
    (rb"MPCK", Content("mpc", "mpc8")),
    (rb"MP\+[\x07\x17]", Content("mpc", "mpc")),
    (rb"#!AMR", Content("amr", "amr")),
    (rb"\.RMF|\.ra\xfd", Content("RealAudio", "rm")),
    (rb"TTA1", Content("tta", "tta")),
    (rb"\x0b\x77", Content("ac3", "ac3")),
    (rb"\x7f\xfe\x80\x01", Content("dts", "dts")),
    (rb"DSD \x1c", Content("dsf", "dsf")),
)
_AGAIN = "download the recording again"
_NOT_AUDIO = (
    (rb"(?i)\s*(?:<!doctype html|<html|<head|<body|<script)", Content("an HTML page", hint=_AGAIN)),
    (rb"\s*<\?xml", Content("an XML file", hint=_AGAIN)),
    (rb"version https://git-lfs", Content("a pointer of Git LFS", hint="run `git lfs pull`")),
    (rb"/annex/objects/", Content("a pointer of git-annex", hint="run `git annex get`")),
    (rb"#EXTM3U|\[playlist\]", Content("a playlist", hint="put the recordings there")),
    (rb"MThd", Content("MIDI notes", hint="render them as a wav")),
    (rb"%PDF", Content("a PDF")),
    (rb"PK\x03\x04", Content("a zip archive", hint="unpack it")),
    (rb"Rar!", Content("a rar archive", hint="unpack it")),
    (rb"7z\xbc\xaf", Content("a 7z archive", hint="unpack it")),
    (rb"\x1f\x8b", Content("a gzip archive", hint="unpack it")),
    (rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|....ftyp(?:heic|heix|mif1|avif)", Content("a picture")),
    (rb"RIFF....AVI ", Content("a video", hint="convert its sound to wav, flac or mp3")),
)
_KNOWN = [(re.compile(pattern, re.DOTALL), content) for pattern, content in (*_NOT_AUDIO, *_AUDIO)]


def content_of(file: BinaryIO) -> Content | None:
    r"""Return what a file holds by its first bytes, or by those after an ID3 tag; ``None`` if they are not known.

    >>> import io
    >>> content_of(io.BytesIO(b"fLaC\0")).name, content_of(io.BytesIO(b"<!DOCTYPE html>")).name
    ('flac', 'an HTML page')
    """
    file.seek(0)
    head = file.read(_NUM_BYTES)
    is_tagged, start = False, 0
    while head[:3] == b"ID3" and len(head) >= 10:
        is_tagged = True
        start += 10 + sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(reversed(head[6:10])))
        if start > _MOST_TAG_BYTES:
            break
        file.seek(start)
        head = file.read(_NUM_BYTES)
    found = next((content for pattern, content in _KNOWN if pattern.match(head)), None)
    if is_tagged and (found is None or not found.demuxer):
        return Content("mp3", "mp3", True)  # zeros may follow the tag
    return found


def is_recording(path: Path) -> bool:
    """Return whether a file is a recording by its ending or, if that is not known, by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES or suffix in _OTHER_SUFFIXES:
        return suffix in AUDIO_SUFFIXES
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for a writer
            return False
        with path.open("rb") as file:
            content = content_of(file)
    except (OSError, ValueError):
        return False
    return content is not None and bool(content.demuxer)
