"""What is searched: ranges in YAML and on the command line, as Optuna's distributions, and back as overrides."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from genregrid.errors import UserError

Space = dict[str, BaseDistribution]
# Epochs stay out, as trials are compared epoch by epoch; so do windows, which the validation loss counts.
SEARCHABLE = "model.*, batch_size and trainer.gradient_clip_val"
_NOTHING = object()


def is_searchable(key: str) -> bool:
    """Whether a search may vary a key: a setting of the model, no data, protocol or seed.

    >>> is_searchable("model.dropout"), is_searchable("split.fold"), is_searchable("model")
    (True, False, False)
    """
    return key.startswith("model.") or key in ("batch_size", "trainer.gradient_clip_val")


def read_range(key: str, given: Any) -> BaseDistribution:
    """The distribution of one key of the YAML.

    Args:
        key: for messages.
        given: a list of values to choose from, or ``{low, high}`` with both ends included, and ``log: true`` or
            ``step``; whole numbers where both ends are.

    Raises:
        UserError: neither of the two, or no such range.

    >>> read_range("model.num_layers", {"low": 1, "high": 3})
    IntDistribution(high=3, log=False, low=1, step=1)
    """
    if isinstance(given, list) and given and not any(isinstance(value, list | dict) for value in given):
        return CategoricalDistribution(given)
    keys: set[Any] = set(given) if isinstance(given, dict) else set()
    if {"low", "high"} <= keys and not keys - {"low", "high", "log", "step"}:
        is_whole = all(isinstance(given[end], int) for end in ("low", "high"))
        try:
            return IntDistribution(**given) if is_whole else FloatDistribution(**given)
        except (ValueError, TypeError) as error:  # such as low above high
            raise UserError(f"the range of {key} is {given}: {' '.join(str(error).split())}") from error
    raise UserError(
        f"the range of {key} is {given}: give a list of values, or low and high, with log: true or a step if wanted."
    )


def parse_sweep(override: Override) -> BaseDistribution:
    """The distribution of an override in Hydra's syntax; upper ends of ``range`` and whole ``interval`` are left out.

    Raises:
        UserError: a sweep that is neither ``a,b``, ``choice``, ``range`` nor ``interval``, or has no value.
    """
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, ChoiceSweep):
        return read_range(key, list(override.sweep_iterator()))
    if isinstance(sweep, RangeSweep):
        values = sorted(float(str(value)) for value in sweep.range())
        if not values:
            raise UserError(f"{override.input_line}: this range is empty.")
        if isinstance(sweep.start, int) and isinstance(sweep.stop, int) and isinstance(sweep.step, int):
            return IntDistribution(int(values[0]), int(values[-1]), step=abs(sweep.step))
        return FloatDistribution(values[0], values[-1], step=abs(float(sweep.step)))
    if isinstance(sweep, IntervalSweep):
        start: Any = sweep.start  # whole numbers come of int(interval(a,b)) only
        is_whole = "int" in sweep.tags or isinstance(start, int)
        low, high = (int if is_whole else float)(start), sweep.end or 0.0
        return read_range(key, {"low": low, "high": int(high) - 1 if is_whole else high, "log": "log" in sweep.tags})
    raise UserError(f"{override.input_line}: a search takes a,b, choice(a,b), range(a,b) or interval(a,b).")


def build_space(
    sections: Mapping[str, Mapping[str, Any]], names: Sequence[str], cfg: DictConfig, overrides: Sequence[Override]
) -> tuple[Space, list[str]]:
    """The space of one model, and the keys that it does not have.

    Args:
        sections: ranges by key, of each family of models and of single models; ``None`` takes a key out.
        names: the sections that hold for the model, the more special one last.
        cfg: the composed config of the model; keys that it lacks are left out.
        overrides: of the command line. A sweep takes the place of a range, any other value fixes its key.

    Raises:
        UserError: a key that no search varies, a wrong range, or nothing to search.
    """
    ranges = {key: given for name in names for key, given in sections.get(name, {}).items()}
    ranges = {key: given for key, given in ranges.items() if given is not None}  # taken out
    missing = [key for key in ranges if OmegaConf.select(cfg, key, default=_NOTHING) is _NOTHING]
    fixed = {override.get_key_element() for override in overrides if not override.is_sweep_override()}
    space = {key: read_range(key, given) for key, given in ranges.items() if key not in {*missing, *fixed}}
    for override in overrides:
        if override.is_sweep_override():
            space[override.get_key_element()] = parse_sweep(override)
    for key in space:
        if not is_searchable(key):
            raise UserError(f"{key} is no key to search: a search varies {SEARCHABLE}; give {key} one value.")
    if not space:
        raise UserError(
            f"nothing to search: model={names[-1]} has none of the keys that have ranges, or all are fixed; give one, "
            "such as model.dropout=interval(0,0.6)."
        )
    return space, missing


def to_overrides(params: Mapping[str, Any]) -> list[str]:
    """Values as overrides of the command line; what was drawn from a continuous range, to four digits.

    >>> to_overrides({"model.dropout": 0.5, "model.relu": True, "model.whitening": None, "model.gamma": 0.123456789})
    ['model.dropout=0.5', 'model.relu=true', 'model.whitening=null', 'model.gamma=0.1235']
    """
    return [f"{key}={_word(value)}" for key, value in params.items()]


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    is_drawn = isinstance(value, float) and len(repr(value)) > 10  # nobody writes such a number
    return f"{value:.4g}" if is_drawn else str(value)


def nearest(cfg: DictConfig, space: Space) -> dict[str, Any]:
    """The config's own values as far as the space has them: a number beyond an end becomes that end."""
    found: dict[str, Any] = {}
    for key, distribution in space.items():
        value = OmegaConf.select(cfg, key)
        if isinstance(distribution, CategoricalDistribution):
            if value in distribution.choices:
                found[key] = value
        elif isinstance(distribution, IntDistribution | FloatDistribution) and isinstance(value, int | float):
            found[key] = min(max(value, distribution.low), distribution.high)
    return found


def described(distribution: BaseDistribution) -> str:
    """A range in words.

    >>> described(FloatDistribution(0.0001, 0.01, log=True)), described(CategoricalDistribution([8, 16]))
    ('0.0001 to 0.01, logarithmic', '8, 16')
    """
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(_word, distribution.choices))
    if isinstance(distribution, IntDistribution | FloatDistribution):
        step = f", in steps of {distribution.step:g}" if distribution.step not in (None, 1) else ""
        log = ", logarithmic" if distribution.log else ""
        return f"{distribution.low:g} to {distribution.high:g}{step}{log}"
    return str(distribution)
