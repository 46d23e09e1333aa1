"""The page as one HTML document: that of the server, and a file of results that needs none."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from os.path import commonpath
from pathlib import Path
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from genregrid.errors import UserError, printable
from genregrid.exhibit.colour import genre_colours, ink_on
from genregrid.exhibit.page import Inlined, template
from genregrid.files import write_text
from genregrid.listening.timeline import ScoredRecording
from genregrid.page.answer import answer, name_of
from genregrid.page.limit import (
    LONGEST_NAME,
    MOST_BYTES,
    MOST_RECORDED_SECONDS,
    MOST_RECORDINGS,
    SENTENCE,
    TOO_LARGE,
    TOO_MANY,
)
from genregrid.report.recording import url_from

_TEMPLATE = Path(__file__).parent / "template"
# Nothing is loaded from elsewhere. A page that was written as a file plays recordings beside it.
_POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data:; "
    "media-src 'self'{media} blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
)


def policy(*, served: bool) -> str:
    """Return the Content-Security-Policy of the page."""
    style, script = _parts()
    media, connect = ("", "'self'") if served else (" file:", "'none'")
    return _POLICY.format(script=script.digest, style=style.digest, media=media, connect=connect)


def render(
    title: str,
    about: str,
    genres: Sequence[str],
    recordings: Sequence[Mapping[str, Any]],
    *,
    marks: Sequence[str] = (),
    served: bool,
) -> str:
    """Write the page as one document.

    Args:
        title: of the page.
        about: a line below it.
        genres: names in the order of the model's probabilities.
        recordings: with ``name``; ``audio``, the URL; ``answer``, see `genregrid.page.answer`, or ``None``; and
            ``score``, the URL that scores it, if there is no answer.
        marks: warnings about the model's training.
        served: whether a server scores recordings that are given to the page.
    """
    style, script = _parts()
    colours = genre_colours(genres)
    data = {
        "genres": [[genre, colours[genre], ink_on(colours[genre])] for genre in genres],
        "recordings": list(recordings),
        "recordSeconds": MOST_RECORDED_SECONDS,
        "mostBytes": MOST_BYTES,  # a browser that still sends does not read why it is refused
        "tooLarge": TOO_LARGE,
        "served": served,
    }
    # with < as an escape, no name ends the script element or begins a comment in it
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return template("page.html", _TEMPLATE).render(
        title=title,
        subtitle=about,
        marks=marks,
        served=served,
        limits=SENTENCE,
        policy=policy(served=served),
        style=Markup(style.text),
        script=Markup(script.text),
        data=Markup(text),
    )


def write_page(
    recordings: Sequence[ScoredRecording],
    path: Path,
    about: str = "",
    skipped: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write predictions for recordings as one HTML file, which links to the recordings and needs no server.

    The recordings are linked relatively: if the file and the recordings are moved together, it still plays them.

    Args:
        recordings: of one model; at most `MOST_RECORDINGS`.
        path: of the file.
        about: a line below the title, such as the model and how good it is.
        skipped: recordings without predictions, by path, with the reason.

    Raises:
        UserError: there is no recording, or there are too many.
    """
    if not recordings or len(recordings) > MOST_RECORDINGS:
        problem = TOO_MANY if recordings else "there is no recording"
        raise UserError(problem, key=path, hint="write several pages, each for a part of them" if recordings else None)
    files = [Path(one.file) for one in recordings]
    root = Path(commonpath([file.absolute().parent for file in [*files, *map(Path, skipped)]]))
    rows: list[dict[str, Any]] = [
        {
            "name": (name := name_of(file.absolute(), root)),
            "audio": url_from(path.parent, file),
            "answer": answer(one, name),
        }
        for one, file in zip(recordings, files, strict=True)
    ]
    title = "Genres of " + (f"{len(rows)} recordings" if len(rows) > 1 else "a recording")
    for missing, reason in skipped.items():
        shown = printable(name_of(Path(missing).absolute(), root), LONGEST_NAME)
        rows.append({"name": shown, "audio": "", "answer": None, "fault": printable(reason)})
    marks = sorted({str(mark) for one in recordings for mark in one.marks})
    write_text(path, render(title, about, recordings[0].genres, rows, marks=marks, served=False))


def limited(files: Iterator[Path] | Sequence[Path], key: object) -> list[Path]:
    """Return the recordings of a folder, of which the page shows a limited number.

    Raises:
        UserError: there are too many.
    """
    found = list(islice(files, MOST_RECORDINGS + 1))
    if len(found) > MOST_RECORDINGS:
        raise UserError(TOO_MANY, key=key, hint="give a folder below it")
    return found


def _parts() -> tuple[Inlined, Inlined]:
    style = Inlined.of("base.css", "page.css", folder=_TEMPLATE)
    return style, Inlined.of("base.js", "page.js", folder=_TEMPLATE)
