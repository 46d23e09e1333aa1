"""Find out whether the folders of a corpus are genres, before hours of work: a folder of a wrong level is refused.

Names and structure decide. What is refused by mistake can be described by a list of path and label.
"""

import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from genregrid.errors import UserError, counted, printable
from genregrid.features.folder import Found
from genregrid.recording.content import READABLE_SUFFIXES, words_in
from genregrid.recording.ffmpeg import HOW_TO_GET

_MOST_SHOWN = 10  # genres that are printed by name
_LONGEST_SHOWN = 40  # characters of a name
_FMA = "for FMA add --labels fma_metadata/tracks.csv, which has the genres"
_LIST = "list the recordings in a CSV of path and label, and give that"


# Names of folders that hold genres in public corpora, as `_letters` writes them.
_COLLECTIONS = words_in("corpus data database dataset datasets fma genre genres genresoriginal gtzan")
# Names of folders that hold recordings of any genre.
_NEUTRAL = words_in("audio clips flac full m4a mp3 music ogg original raw samples songs tracks wav wavs")
_PARTS = words_in(
    "train training trn valid validation validate val dev devel development eval evaluation test testing tst "
    "heldout holdout unlabeled unlabelled"
)
# Parts of a corpus or of an album, with a number: fold1, CD 2, Disc 01, part-3, split_0.
_NUMBERED = re.compile(
    r"(?:fold|split|part|chunk|shard|batch|cv|set|subset|group|cd|disc|disk|dvd|lp|vol|volume|side)[\W_]*(?:\d+|[a-d])"
)
# Genres and styles by which folders of genres are recognised, as `_letters` writes them.
_GENRES = words_in(
    "acoustic afrobeat alternative ambient bachata ballad bhajan bluegrass blues bollywood bossanova breakbeat "
    "cabaret carnatic celtic chacha chachacha chanson chillout classic classical classicrock country cumbia dance "
    "dancehall deathmetal deephouse disco dnb drumandbass drumnbass dub dubstep easylistening edm electro "
    "electronic electronica emo enka experimental fado flamenco folk folkcountry folkrock forro forró foxtrot funk "
    "funksoulrnb garage gospel goth grime grunge hardcore hardrock heavymetal hindustani hiphop house idm indie "
    "indierock industrial instrumental international jazz jive jpop jungle kids kpop latin lofi lounge mambo "
    "mariachi merengue metal mpb newage newwave noise oldies oldtime oldtimehistoric opera orchestral pasodoble pop "
    "poprock postrock progressive progrock psychedelic punk punkrock quickstep ragtime ranchera rap reggae "
    "reggaeton rhythmandblues rnb rock rockabilly rockandroll rocknroll roots rumba salsa samba schlager sertanejo "
    "shoegaze singersongwriter ska soul soulrnb soundtrack spoken spokenword swing synthpop synthwave tango "
    "techhouse techno trance trap triphop viennesewaltz vocal waltz western world worldmusic"
)


def check_level(found: Found) -> None:
    """Refuse a folder whose folders are parts, numbers or collections of genres, and not genres.

    Raises:
        UserError: it is such a folder; the hint names the folder to give, or how to keep these names as genres.
    """
    if found.is_by_folder:
        _Tree(found).check()


def genre_lines(found: Found) -> Iterator[str]:
    """Yield what to print before the work: the genres by name with their numbers of recordings, the largest first."""
    count = Counter(track.genre for track in found.tracks)
    names = [f"{printable(genre, _LONGEST_SHOWN)} {number}" for genre, number in count.most_common(_MOST_SHOWN)]
    if left := len(count) - len(names):
        genre, number = count.most_common()[-1]
        smallest = f"{printable(genre, _LONGEST_SHOWN)} {number}"
        names.append(f"and {left} more, the smallest {smallest}")
    recordings, genres = counted(len(found.tracks), "recording"), counted(len(count), "genre")
    yield f"{printable(str(found.source))}: {recordings} of {genres}: {', '.join(names)}"
    doubtful = [track.path.name for track in found.tracks if track.path.suffix.lower() not in READABLE_SUFFIXES]
    if doubtful and shutil.which("ffmpeg") is None:
        files = f"{counted(len(doubtful), 'recording')} such as {printable(doubtful[0], _LONGEST_SHOWN)}"
        yield f"{files} may need ffmpeg, which is not installed; {HOW_TO_GET}"
    if len(count) == 1:
        note = "one genre only: enough to be scored with a checkpoint; a training needs two genres or more"
        folder, inner, _ = _Tree(found).branches() if found.is_by_folder else (found.source, [], [])
        is_level = f"; if {_listed(inner)} are the genres, give {printable(str(folder))}" if len(inner) > 1 else ""
        yield note + is_level


class _Tree:
    """The folders of a corpus that hold recordings."""

    def __init__(self, found: Found) -> None:
        self.source = found.source
        #: Path of each recording from the folder on: genre, subfolders, file.
        self.paths = [track.path.relative_to(found.source).parts for track in found.tracks]
        self.genres = sorted({parts[0] for parts in self.paths})

    @cached_property
    def inner(self) -> Mapping[str, set[str]]:
        """Subfolders of each genre that have one."""
        found = defaultdict(set)
        for parts in self.paths:
            if len(parts) > 2:
                found[parts[0]].add(parts[1])
        return found

    def check(self) -> None:
        """Raise if the folders are not genres."""
        if all(name.isdecimal() for name in self.genres):
            hint = _LIST
            if all(re.fullmatch(r"\d{3}", name) for name in self.genres):
                hint = f"{_FMA}; for others {_LIST}"
            self._refuse("are numbers, not genres", hint)
        if not any(map(_is_genre, self.genres)) and self._is_fma():
            self._refuse("hold FMA's numbered folders, and are not genres", f"{_FMA}; for others {_LIST}")
        if len(self.genres) == 1:
            self._check_one()
        if len({_part(name) for name in self.genres} - {""}) > 1 or all(map(_part, self.genres)):
            self._refuse("are parts of a corpus, not genres", self._folders_of_parts())
        if len(words := {self._word(name) for name in self.genres}) > 1 and "" not in words:
            self._refuse("are genres of several parts of a corpus, and not genres", _LIST)
        if all(_NUMBERED.fullmatch(name.casefold().strip()) for name in self.genres):
            self._refuse("are numbered parts, not genres", self._folders_of_parts())
        if len(self.genres) == 1:
            return
        if all(len(name) == 1 for name in self.genres) and self._are_initials():
            self._refuse("are initials, not genres", _LIST)
        self._check_inner()

    def branches(self) -> tuple[Path, set[str], list[tuple[str, ...]]]:
        """Return the first folder that has other than one subfolder, its subfolders, and the paths from there on."""
        folder, paths = self.source, self.paths
        while True:
            inner = {parts[0] for parts in paths if len(parts) > 1}
            if len(inner) != 1 or any(len(parts) == 1 for parts in paths):
                return folder, inner, paths
            folder /= inner.pop()
            paths = [parts[1:] for parts in paths]

    def _check_one(self) -> None:
        """Raise if the only folder, or one below it, holds the genres."""
        genre = self.genres[0]
        folder, inner, paths = self.branches()
        if _is_genre(genre) or len(inner) < 2 or sum(len(parts) > 1 for parts in paths) <= len(paths) / 2:
            return
        names = folder.relative_to(self.source).parts
        if any(_letters(name) in _COLLECTIONS or _part(name) for name in names) or _are_genres(inner):
            shown = printable(genre, _LONGEST_SHOWN)
            problem = f"its only folder with recordings, {shown}, holds the genres ({_listed(inner)})"
            raise UserError(
                problem, key=self.source, hint=f"give the folder {folder}; if '{shown}' is the genre, {_LIST}"
            )

    def _check_inner(self) -> None:
        """Raise if the subfolders are the genres."""
        if any(map(_is_genre, self.genres)):
            return
        inner = set().union(*self.inner.values())
        styles = {name for name in inner if _is_genre(name)}
        num_styles = sum(len(parts) > 2 and parts[1] in styles for parts in self.paths)
        if len(styles) > 1 and num_styles > len(self.paths) / 2:
            self._refuse(f"hold the genres ({_listed(styles)})", self._folders_of_parts())
        are_equal = len(self.inner) == len(self.genres) and len({frozenset(own) for own in self.inner.values()}) == 1
        is_neutral = all(map(_is_neutral, inner))
        if are_equal and len(inner) > 1 and not is_neutral and all(len(parts) > 2 for parts in self.paths):
            self._refuse(
                f"all hold the same folders ({_listed(inner)}), which seem to be the genres", self._one_by_one()
            )

    def _is_fma(self) -> bool:
        """Return whether all recordings are in subfolders of three digits."""
        return all(len(parts) == 3 and re.fullmatch(r"\d{3}", parts[1]) for parts in self.paths)

    @staticmethod
    def _word(name: str) -> str:
        """Return the part of a corpus that the first or the last word of several names: ``train`` of rock_train."""
        words = [word for word in re.split(r"[\W_]+", name) if word]
        return (_part(words[-1]) or _part(words[0])) if len(words) > 1 else ""

    def _are_initials(self) -> bool:
        """Return whether all recordings are in subfolders that begin with the letter of their folder."""
        return all(len(parts) > 2 and parts[1].casefold().startswith(parts[0].casefold()) for parts in self.paths)

    def _folders_of_parts(self) -> str:
        return self._one_by_one() if any(len(own) > 1 for own in self.inner.values()) else _LIST

    def _one_by_one(self) -> str:
        count = Counter(parts[0] for parts in self.paths)
        one = max(self.genres, key=lambda name: (_part(name).startswith("tr"), count[name]))
        return f"give one of them, such as {self.source / one}, or {_LIST}"

    def _refuse(self, problem: str, hint: str) -> None:
        shown = _listed(self.genres)
        raise UserError(f"its folders ({shown}) {problem}", key=self.source, hint=hint)


def _letters(name: str) -> str:
    """Return the letters and digits of a name in lower case.

    >>> _letters("Hip-Hop"), _letters("genres_original")
    ('hiphop', 'genresoriginal')
    """
    return "".join(filter(str.isalnum, name.casefold()))


def _part(name: str) -> str:
    """Return the part of a corpus that a folder is named after; empty if it is named otherwise.

    >>> _part("Train"), _part("test_set 2"), _part("rock")
    ('train', 'test', '')
    """
    word = re.sub(r"(?:set|data|split|audio|files|folder)?\d*$", "", _letters(name))
    return word if word in _PARTS else ""


def _is_genre(name: str) -> bool:
    return _letters(name) in _GENRES or _letters(name.replace("&", "and")) in _GENRES


def _are_genres(names: Iterable[str]) -> bool:
    """Return whether at least two of several names, and a third of them, are genres."""
    are = list(map(_is_genre, names))
    return sum(are) > 1 and 3 * sum(are) >= len(are)


def _is_neutral(name: str) -> bool:
    """Return whether folders of this name divide the recordings of any genre: parts, discs, formats, years, initials.

    >>> _is_neutral("CD 1"), _is_neutral("train"), _is_neutral("1999"), _is_neutral("mp3"), _is_neutral("Queen")
    (True, True, True, True, False)
    """
    text = name.casefold().strip()
    is_part = bool(_part(name)) or _NUMBERED.fullmatch(text) is not None
    return is_part or text.isdecimal() or len(text) == 1 or _letters(name) in _NEUTRAL


def _listed(names: Iterable[str]) -> str:
    """Write some names.

    >>> _listed(["b", "a"]), _listed(map(str, range(9)))
    ('a, b', '0, 1, 2, 3, ... 8')
    """
    shown = [printable(name, _LONGEST_SHOWN) for name in sorted(names)]
    return ", ".join(shown) if len(shown) < 6 else f"{', '.join(shown[:4])}, ... {shown[-1]}"
