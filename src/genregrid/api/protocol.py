"""How the tracks of a table are divided into training, validation and test, before anything is trained."""

from html import escape
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from genregrid.api.mistake import offered, python_words
from genregrid.api.setting import check_choice, composed, with_settings, with_values
from genregrid.api.table import Table, check_table
from genregrid.config import TrainConfig, split_label
from genregrid.data.split import Split
from genregrid.errors import UserError
from genregrid.record.result import split_frame
from genregrid.training.build import split_of

_PARTS = ("train", "val", "test")


class TrackSplit:
    """A table divided by a protocol. `genregrid.split` makes it, and `genregrid.train` takes it.

    Attributes:
        protocol: name of the protocol.
        given: the settings that it was made with.
        split: the part of each row of the table.
    """

    def __init__(self, table: Table, protocol: str, given: dict[str, Any], split: Split, fold: str) -> None:
        self.protocol = protocol
        self.given = given
        self._all_tracks = table.tracks
        self.split = split
        self._fold = fold
        #: One row per track and part: track, part, genre, group (tracks of one number stay together), num_slices.
        self.tracks = split_frame(table.corpus.table, split)

    def check_is_of(self, table: Table) -> None:
        """Check that a table has the tracks that were divided.

        Raises:
            UserError: it has others.
        """
        if not self._all_tracks.equals(table.tracks):
            raise UserError(
                "it divides the tracks of another table", key="split", hint="split this one: gg.split(TABLE)"
            )

    @property
    def leaks(self) -> bool:
        """Whether the protocol puts slices of one track into training and test."""
        return self.split.leaks

    @property
    def notes(self) -> list[str]:
        """A sentence for each thing that was merged or left out."""
        return [python_words(note) for note in self.split.notes]

    @property
    def counts(self) -> pd.DataFrame:
        """Number of tracks of each genre in each part."""
        return pd.crosstab(self.tracks["part"], self.tracks["genre"]).reindex([*_PARTS], fill_value=0)

    def summary(self) -> pd.DataFrame:
        """Count what is in each part, and what of it is in another part too; nothing leaks if those counts are 0.

        A group is what the protocol keeps together: copies of a track, and under ``artist`` the tracks of an artist.
        """
        rows = {}
        for part in _PARTS:
            own, others = (self.tracks[(self.tracks["part"] == part) == is_own] for is_own in (True, False))
            rows[part] = {
                "tracks": own["track"].nunique(),
                "groups": own["group"].nunique(),
                "tracks elsewhere": len({*own["track"]} & {*others["track"]}),
                "groups elsewhere": len({*own["group"]} & {*others["group"]}),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")

    def __repr__(self) -> str:
        counts = ", ".join(f"{row.tracks} {row.Index}" for row in self.summary().itertuples())
        shared = int(self.summary()["tracks elsewhere"].max())
        leak = f"LEAKS: {shared} tracks are in several parts" if shared else "no track is in two parts"
        return f"<TrackSplit {split_label(self.protocol, self.leaks)}, {self._fold}: {counts} tracks; {leak}>"

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"<p>{escape(repr(self)[1:-1])}</p>{self.summary().to_html()}" + (f"<ul>{notes}</ul>" if notes else "")


@offered
def split(
    table: Table, protocol: str = "track", *, fold: int = 0, folds: int = 5, seed: int = 0, **settings: Any
) -> TrackSplit:
    """Divide the tracks of a table into training, validation and test, as a training with these arguments does.

    Args:
        table: from `read_table` or `read_corpus`; also the path of a table, or a DataFrame.
        protocol: ``track``, ``artist`` (test artists are new), ``filtered``, ``official``; ``row``, ``misaligned`` and
            ``mixed`` leak and need ``allow_leak=True``.
        fold: the fold to test on, from 0.
        folds: number of folds.
        seed: of the folds.
        settings: val_folds, val_fold, allow_leak.

    Raises:
        UserError: there is no such protocol, it leaks, or the table lacks what it needs.

    >>> import genregrid as gg
    >>> table = gg.read_corpus("twin", num_tracks=50)
    >>> gg.split(table, "artist", folds=3)
    <TrackSplit artist, fold 0 of 3: 17 train, 16 val, 17 test tracks; no track is in two parts>
    """
    table = check_table(table)
    given = {"fold": fold, "folds": folds} | settings
    cfg = run_config("lda", table, protocol, given, seed)
    typed: Any = OmegaConf.to_object(cfg)
    assert isinstance(typed, TrainConfig)
    fold_name = f"fold {fold} of {folds}"
    return TrackSplit(table, protocol, given, split_of(table.corpus, typed.split), fold_name)


def run_config(model: str, table: Table, protocol: object, given: dict[str, Any], seed: int) -> DictConfig:
    """Compose the configuration of a run.

    Raises:
        UserError: there is no such model, protocol or setting.
    """
    check_choice("model", model)
    if isinstance(protocol, TrackSplit):
        protocol.check_is_of(table)
        given = protocol.given | {name: value for name, value in given.items() if name not in ("fold", "folds")}
        protocol = protocol.protocol
    if not isinstance(protocol, str):
        problem = f"expected the name of a protocol, or what gg.split returned, not {type(protocol).__name__}"
        raise UserError(problem, key="split")
    cfg = composed(dataset=table.dataset, split=protocol, model=model)
    with_values(cfg, table.values | {"seed": seed, "trainer.progress_bar": False})
    return with_settings(cfg, given)
