"""The recipes that genregrid can compute, by name."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast, get_args

from genregrid.errors import UserError
from genregrid.features.handmade import DESCRIPTORS, HandmadeRecipe
from genregrid.features.hf import HfRecipe
from genregrid.features.musicnn import NETWORKS, MusicnnRecipe
from genregrid.features.recipe import Recipe
from genregrid.features.spectrum import Padding

# How alike a misspelt name is, from 0 to 1.
_NEAR_NAME = 0.9


class Choice(NamedTuple):
    """The options that recipes take; each uses those that it has."""

    padding: Padding = "reflect"
    weights: Path | None = None  # a file, or a folder for `hf`
    layer: int | None = None  # of `hf`


def _musicnn(trained_on: str, tags: bool) -> Callable[[Choice], Recipe]:
    return lambda choice: MusicnnRecipe(trained_on, tags, choice.weights)


def _handmade(descriptors: str) -> Callable[[Choice], Recipe]:
    return lambda choice: HandmadeRecipe(descriptors, choice.padding)


_NAMED: Mapping[str, Callable[[Choice], Recipe]] = {
    **{name: _handmade(name) for name in DESCRIPTORS},
    **{f"musicnn-{name}{'-tags' * tags}": _musicnn(name, tags) for name in NETWORKS for tags in (False, True)},
}
#: Values of ``--recipe``, each with a function that makes the recipe of the other options.
OPTIONS: Mapping[str, Callable[[Choice], Recipe]] = {
    **_NAMED,
    "hf": lambda choice: HfRecipe.in_folder(choice.weights, choice.layer),
}


def recipe_named(name: str) -> Recipe | None:
    """Return the recipe with a name; ``None`` for names of features that were computed elsewhere."""
    return HfRecipe.named(name) or next((recipe for recipe in _named() if recipe.name == name), None)


def _named() -> Iterator[Recipe]:
    """Yield every recipe that its name alone makes, each padding on its own."""
    paddings: Sequence[Padding] = cast("tuple[Padding, ...]", get_args(Padding))
    return (make(Choice(padding)) for make in _NAMED.values() for padding in paddings)


def near_recipe(name: str) -> str | None:
    """Return the recipe whose name is probably misspelt; ``None`` for recipes, and names that are like none.

    >>> near_recipe("kagle-reflect"), near_recipe("kaggle-reflect"), near_recipe("theirs")
    ('kaggle-reflect', None, None)
    """
    if recipe_named(name) is not None:
        return None
    known = sorted({recipe.name for recipe in _named()})
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_NEAR_NAME)), None)


def option_of(features: str) -> str:
    """Return the options of ``python -m genregrid.features`` by which a recipe is extracted.

    >>> option_of("rich"), option_of("rich-constant")
    ('--recipe rich', '--recipe rich --padding constant')

    Raises:
        UserError: there is no such recipe.
    """
    if features == "hf" or HfRecipe.named(features):
        return "--recipe hf --weights MODEL"
    name, _, padding = features.partition("-")
    if name in DESCRIPTORS and padding in get_args(Padding):
        return f"--recipe {name} --padding {padding}"
    if features not in _NAMED:
        raise UserError(
            "no table has this recipe, and it cannot be extracted here",
            key="features",
            value=features,
            hint=f"choose one of {', '.join(OPTIONS)}, or the recipe in the note of a table",
        )
    return f"--recipe {features}"


def may_overlap(name: str) -> bool:
    """Return whether a recipe's network may have been trained on the music of a test; false for unknown recipes."""
    recipe = recipe_named(name)
    return recipe is not None and recipe.may_overlap


def columns_of(name: str) -> tuple[str, ...] | None:
    """Return the columns of a recipe in their order; ``None`` for features that were computed elsewhere."""
    if name in DESCRIPTORS:
        raise UserError("the padding is missing", key="dataset.recipe", value=name, hint=f"for example {name}-reflect")
    recipe = recipe_named(name)
    return recipe.feature_names if recipe else None
