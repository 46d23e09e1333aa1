"""The models that come with genregrid, and which of them can be used here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genregrid.errors import UserError
from genregrid.features.known_recipe import recipe_named
from genregrid.program import command_name

#: Holds their checkpoints and cards.
FOLDER = Path(__file__).with_name("shipped_models")


@dataclass(frozen=True)
class ShippedModel:
    """A model of genregrid's own training.

    Attributes:
        name: such as ``gtzan-musicnn-msd``.
        recipe: of the descriptors that it takes.
        get: the command that gets what the recipe needs; empty if it needs nothing.
    """

    name: str
    recipe: str
    get: str = ""

    @property
    def checkpoint(self) -> Path:
        """Path of its checkpoint; the card is beside it, as Markdown."""
        return FOLDER / f"{self.name}.ckpt"


def shipped_models() -> Iterator[ShippedModel]:
    """Yield the models, the one with the best score on new artists first."""
    get = f"{command_name('features')} --get musicnn"
    yield ShippedModel("gtzan-musicnn-msd", "musicnn-msd", get)
    yield ShippedModel("gtzan-musicnn-mtt", "musicnn-mtt", get)
    yield ShippedModel("gtzan-descriptors", "kaggle-constant")


def choose_shipped(name: str | None = None) -> tuple[ShippedModel, ShippedModel | None]:
    """Return the model of a name, or the best one whose needs are met, and a better one whose needs are not.

    Raises:
        UserError: there is no model of that name, or its needs are not met.
    """
    better: ShippedModel | None = None
    for model in shipped_models():
        if name is not None and model.name != name:
            continue
        recipe = recipe_named(model.recipe)
        assert recipe is not None  # all are of genregrid
        try:
            recipe.check()
        except UserError:
            if name is not None:
                raise
            better = better or model
            continue
        return model, better
    names = ", ".join(model.name for model in shipped_models())
    hint = f"choose {names}, or give a checkpoint"
    raise UserError("there is no such file, and no model of this name", key="--model", value=name, hint=hint)
