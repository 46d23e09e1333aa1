"""A run that trained on every track, and so has no score of its own: its files and what it prints."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from genregrid.errors import counted, printable
from genregrid.exhibit.spreadsheet import write_csv
from genregrid.files import write_text
from genregrid.record.card import GENRE_SCORES, LEVEL, Card
from genregrid.record.facts import RunFacts
from genregrid.record.folder import BEST_CHECKPOINT, RESULT_FILES, with_hashes

CARD_FILE = "card.md"


@dataclass(frozen=True)
class Untested:
    """A final model: what was run, on which tracks, and the card with the score of its settings."""

    facts: RunFacts
    split: pd.DataFrame  # as in `Result`
    curves: pd.DataFrame  # one row per epoch; empty for models without epochs
    card: Card | None  # None if its settings were not cross-validated
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Description of the run in one line, with its marks."""
        facts = self.facts
        by = f" by {facts.recipe}" if facts.recipe else ""
        tracks = counted(facts.num_tracks["train"], "track")
        return f"{facts.model}, {facts.slice_seconds:g} s slices{by}, trained on all {tracks} of {facts.dataset_title}"

    def write(self, folder: Path) -> None:
        """Write all files into a folder that exists; results of a run with a test are removed."""
        for name in RESULT_FILES:
            (folder / name).unlink(missing_ok=True)
        written = ["config.yaml", BEST_CHECKPOINT, CARD_FILE]
        write_text(folder / CARD_FILE, self.document())
        for name, table in (("split", self.split), ("curves", self.curves)):
            if len(table):
                write_csv(table, folder / f"{name}.csv", index=False, float_format="%.6g")
                written.append(f"{name}.csv")
        more = {"notes": self.notes} | ({} if self.card is None else {"card": self.card.to_json()})
        content = with_hashes(self.facts.to_json() | more, folder, written)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_text(folder / "run.json", text)  # last: it marks a finished run

    def summary(self) -> str:
        """Return two or three lines for the screen."""
        lines = ["", printable(self.title, 1000)]
        if self.card is None:
            lines.append("no track was left to test it: final=true also measures how good its settings are")
        else:
            how = f"{counted(self.card.folds, 'fold')}, split {self.card.protocol}"
            lines.append(f"a model of these settings was {self.card.evidence} ({how})")
        return "\n".join(lines)

    def document(self) -> str:
        """Return the card in Markdown: what the model is, how good it is, and what it cannot do."""
        facts, card = self.facts, self.card
        lines = [
            f"# {printable(facts.model)}",
            "",
            f"{printable(self.title, 1000)}. Seed {facts.seed}, genregrid {facts.versions.get('genregrid', '?')}.",
        ]
        if facts.marks:
            lines += ["", f"Marks: {', '.join(facts.marks)}."]
        if card is None:
            lines += ["", "Its settings were not cross-validated, so that it is not known how good they are."]
            return "\n".join(lines) + "\n"
        genres = len(card.per_genre)
        lines += [
            "",
            f"In cross-validation a model of these settings was {card.evidence} (split {card.protocol}, "
            f"{counted(card.folds, 'fold')}, {counted(card.num_groups, 'group')} of tracks by {card.unit}). Brackets "
            "hold 95 % intervals.",
            "",
            "| genre | tracks | precision % | recall % | F1 % |",
            "|---|---|---|---|---|",
        ]
        for genre, scores in card.per_genre.items():
            row = " | ".join(str(scores[name]) for name in GENRE_SCORES)
            lines.append(f"| {printable(genre).replace('|', chr(92) + '|')} | {card.tested.get(genre, 0)} | {row} |")
        lines += [
            "",
            f"Probabilities are calibrated by a temperature of {card.temperature:.2f}. A genre is in the set of a "
            f"recording if its probability is {100 * (1 - card.threshold):.1f} % or more. On music like that of the "
            f"training the set holds the right genre in {100 * LEVEL:.0f} % of cases; it has {card.set_size:.1f} of "
            f"{genres} genres on average.",
            "",
            "It knows these genres only and answers with one of them for any sound, also for speech or for music of "
            "other genres. The figures hold for recordings like those of its corpus.",
        ]
        return "\n".join(lines) + "\n"
