"""The models that come with genregrid, and which of them can be used here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from genregrid.errors import UserError
from genregrid.features.known_recipe import recipe_named
from genregrid.features.recipe import TableKey
from genregrid.program import command_name
from genregrid.record.place import LATEST, find_checkpoint

#: Holds their checkpoints and cards.
FOLDER = Path(__file__).with_name("shipped_models")


@dataclass(frozen=True)
class ShippedModel:
    """A model of genregrid's own training.

    Attributes:
        name: such as ``gtzan-musicnn-msd``.
        recipe: of the descriptors that it takes.
        slice_seconds: length of its slices.
        get: the command that gets what the recipe needs; empty if it needs nothing.
    """

    name: str
    recipe: str
    slice_seconds: float
    get: str = ""

    @property
    def checkpoint(self) -> Path:
        """Path of its checkpoint; the card is beside it, as Markdown."""
        return FOLDER / f"{self.name}.ckpt"


def shipped_models() -> Iterator[ShippedModel]:
    """Yield the models, the one with the best score on new artists first."""
    get = f"{command_name('features')} --get musicnn"
    yield ShippedModel("gtzan-musicnn-msd", "musicnn-msd", 3.0, get)
    yield ShippedModel("gtzan-musicnn-mtt", "musicnn-mtt", 3.0, get)
    yield ShippedModel("gtzan-descriptors", "kaggle-constant", 10.0)


class ChosenModel(NamedTuple):
    """A model to score recordings with.

    Attributes:
        checkpoint: its path.
        name: of a model that comes with genregrid; empty for others.
        better: a better one that comes with genregrid, whose needs are not met here; ``None`` if there is none.
        source: what it needs of a recording; ``None`` for a model that does not come with genregrid.
    """

    checkpoint: Path
    name: str = ""
    better: ShippedModel | None = None
    source: TableKey | None = None

    def advice(self) -> list[str]:
        """Return a line on the accuracy of the better model and how to get it; none if there is no better one."""
        from genregrid.listening.score import Scorer  # torch takes seconds to import

        if self.better is None:
            return []
        card = Scorer.provenance(self.better.checkpoint).card
        assert card is not None  # each model that is shipped has one
        better = f"better: {self.better.name} was {card.evidence}"
        return [f"{better}; get what it needs (29 MB) by `{self.better.get}`"]


def choose_model(text: str | None = None) -> ChosenModel:
    """Find a model by name, path or ``latest``; by default the best one that comes with genregrid and can be used here.

    Raises:
        UserError: there is no such model, or what the recipe of its descriptors needs is missing.
    """
    better: ShippedModel | None = None
    for model in shipped_models():
        if text is not None and model.name != text:
            continue
        recipe = recipe_named(model.recipe)
        assert recipe is not None  # all are of genregrid
        try:
            recipe.check()
        except UserError:
            if text is not None:
                raise
            better = better or model
            continue
        source = TableKey(recipe, model.slice_seconds)
        return ChosenModel(model.checkpoint, model.name, better if text is None else None, source)
    if text == LATEST or Path(str(text)).exists():
        return ChosenModel(find_checkpoint(str(text), "--model"))
    hint = f"choose {', '.join(model.name for model in shipped_models())}, or give a checkpoint"
    raise UserError("there is no such file, and no model of this name", key="--model", value=text, hint=hint)
