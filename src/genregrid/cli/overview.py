"""What a script can do: the beginning of its ``--help``, before Hydra's own text.

Lines about models, corpora, protocols and experiments are the first comments of the files in `conf`.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

from genregrid.config import LEAKING_PROTOCOLS
from genregrid.program import command_name

# Arguments of examples, and what they do.
_TRAIN = {
    "": "the default model on a synthetic corpus",
    "model=lda dataset=csv dataset.path=my.csv": "your own features",
    "-m model=mlp,lstm slice=3,6,9": "a grid: every combination",
}
_EVALUATE = {
    "checkpoint=latest": "the newest training, on its own test tracks",
    "checkpoint=latest audio=song.mp3": "the genre of a recording",
    "runs=outputs": "a report on all runs",
}
# Title and page of each group of choices.
_GROUPS = {
    "model": ("Models", "docs/models.md"),
    "dataset": ("Corpora", "data/README.md"),
    "split": ("Protocols", "docs/protocols.md"),
    "experiment": ("Experiments, with -m", "docs/grids.md"),
}
_LAST = "Settings are key=value: `--cfg job` shows all of them with their values. Hydra's own help follows.\n"
_MOST_COLUMNS = 120


def overview(script: str, conf: Path, about: str, commands: Mapping[str, str]) -> str:
    """Return the overview of a script.

    Args:
        script: ``train`` or ``evaluate``.
        conf: the folder of the configuration.
        about: what the script does, in a sentence.
        commands: usage and purpose of each command of the script.
    """
    words = _TRAIN if script == "train" else _EVALUATE
    examples = {f"{command_name(script)} {one}".rstrip(): purpose for one, purpose in words.items()}
    sections = {"Examples": examples, "Commands": commands}
    for group in _GROUPS if script == "train" else ("dataset", "split"):
        title, page = _GROUPS[group]
        choices = {path.stem: _about(path) for path in sorted((conf / group).glob("*.yaml"))}
        sections[f"{title}, {group}=NAME ({page})"] = choices
    return "\n\n".join([about, *(_section(title, rows) for title, rows in sections.items() if rows), _LAST])


def _section(title: str, rows: Mapping[str, str]) -> str:
    width = max(map(len, rows))
    columns = min(_MOST_COLUMNS, max(80, shutil.get_terminal_size((_MOST_COLUMNS, 24)).columns))
    texts = [shorten(text, columns - width - 4, placeholder=" ...") for text in rows.values()]
    return "\n".join([f"{title}:", *(f"  {name:{width}}  {text}" for name, text in zip(rows, texts, strict=True))])


def _about(path: Path) -> str:
    """Return the first sentence of the first comment in a file of the configuration, without its full stop."""
    lines = (line[2:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    first = next((line for line in lines if not line.startswith("@package")), "")
    sentence = re.split(r"\. (?=[A-Z])|: python ", first, maxsplit=1)[0].rstrip(".")
    leaks = path.parent.name == "split" and path.stem in LEAKING_PROTOCOLS
    return f"LEAKS, needs split.allow_leak=true: {sentence}" if leaks else sentence
