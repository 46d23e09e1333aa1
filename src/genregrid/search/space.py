"""The searched settings: read ranges from YAML and the command line as Optuna's distributions; write overrides."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from genregrid.errors import UserError

Space = dict[str, BaseDistribution]
# Not epochs, because trials are compared epoch by epoch; not windows, because the validation loss is a mean over them.
SEARCHABLE = "model.*, batch_size and trainer.gradient_clip_val"
_NOTHING = object()


def is_searchable(key: str) -> bool:
    """Return whether a search may vary a key: settings of the model, but not data, protocol or seed.

    >>> is_searchable("model.dropout"), is_searchable("split.fold"), is_searchable("model")
    (True, False, False)
    """
    return key.startswith("model.") or key in ("batch_size", "trainer.gradient_clip_val")


def read_range(key: str, given: Any) -> BaseDistribution:
    """Read the distribution of one key of the YAML.

    It is a list of values to choose from, or ``{low, high}`` with both ends included, and ``log: true`` or ``step``;
    whole numbers if both ends are.

    Raises:
        UserError: it is neither, or the range is impossible.

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
            raise UserError(" ".join(str(error).split()), key=key, value=given) from error
    raise UserError("give a list of values, or low and high, with log: true or a step if wanted", key=key, value=given)


def parse_sweep(override: Override) -> BaseDistribution:
    """Read the distribution of an override in Hydra's syntax; ``range`` and whole ``interval`` exclude the upper end.

    Raises:
        UserError: the sweep is not ``a,b``, ``choice``, ``range`` or ``interval``, or has no value.
    """
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, ChoiceSweep):
        return read_range(key, list(override.sweep_iterator()))
    if isinstance(sweep, RangeSweep):
        values = sorted(float(str(value)) for value in sweep.range())
        if not values:
            raise UserError("this range is empty", key=key, value=override.get_value_string())
        if isinstance(sweep.start, int) and isinstance(sweep.stop, int) and isinstance(sweep.step, int):
            return IntDistribution(int(values[0]), int(values[-1]), step=abs(sweep.step))
        return FloatDistribution(values[0], values[-1], step=abs(float(sweep.step)))
    if isinstance(sweep, IntervalSweep):
        start: Any = sweep.start  # it is whole only for int(interval(a,b))
        is_whole = "int" in sweep.tags or isinstance(start, int)
        low, high = (int if is_whole else float)(start), sweep.end or 0.0
        return read_range(key, {"low": low, "high": int(high) - 1 if is_whole else high, "log": "log" in sweep.tags})
    problem = "a search takes a,b, choice(a,b), range(a,b) or interval(a,b)"
    raise UserError(problem, key=key, value=override.get_value_string())


def build_space(
    sections: Mapping[str, Mapping[str, Any]], names: Sequence[str], cfg: DictConfig, overrides: Sequence[Override]
) -> tuple[Space, list[str]]:
    """Build the space of one model, and list the keys that the model does not have.

    Args:
        sections: ranges by key; ``None`` removes a key.
        names: the sections of the model, the most specific one last.
        cfg: the composed configuration of the model.
        overrides: of the command line. A sweep replaces a range; any other value fixes its key.

    Raises:
        UserError: a key that a search cannot vary, a wrong range, or an empty space.
    """
    ranges = {key: given for name in names for key, given in sections.get(name, {}).items()}
    ranges = {key: given for key, given in ranges.items() if given is not None}  # removed
    missing = keys_not_in(cfg, ranges)
    swept = {override.get_key_element(): override for override in overrides if override.is_sweep_override()}
    fixed = {override.get_key_element() for override in overrides if not override.is_sweep_override()}
    space = {key: read_range(key, given) for key, given in ranges.items() if key not in {*missing, *fixed}}
    space |= {key: parse_sweep(override) for key, override in swept.items()}
    for key in space:
        if not is_searchable(key):
            raise UserError(f"a search varies {SEARCHABLE}", key=key, hint="give it one value")
    if not space:
        problem = "there is nothing to search: it has no key with a range, or all are fixed"
        hint = "give a range, such as model.dropout=interval(0,0.6)"
        raise UserError(problem, key="model", value=names[-1], hint=hint)
    return space, missing


def keys_not_in(cfg: DictConfig, keys: Iterable[str]) -> list[str]:
    """Return those keys that a configuration does not have."""
    return [key for key in keys if OmegaConf.select(cfg, key, default=_NOTHING) is _NOTHING]


def to_overrides(params: Mapping[str, Any]) -> list[str]:
    """Write values as overrides; values from a continuous range have four digits.

    >>> to_overrides({"model.dropout": 0.5, "model.relu": True, "model.whitening": None, "model.gamma": 0.123456789})
    ['model.dropout=0.5', 'model.relu=true', 'model.whitening=null', 'model.gamma=0.1235']
    """
    return [f"{key}={written(value)}" for key, value in params.items()]


def written(value: Any) -> str:
    """Write a value as in an override."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    is_drawn = isinstance(value, float) and len(repr(value)) > 10  # too long to be typed by hand
    return f"{value:.4g}" if is_drawn else str(value)


def nearest(cfg: DictConfig, space: Space) -> dict[str, Any]:
    """Return the configuration's own values that the space has; a number outside a range becomes its nearest end."""
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
    """Describe a range.

    >>> described(FloatDistribution(0.0001, 0.01, log=True)), described(CategoricalDistribution([8, 16]))
    ('0.0001 to 0.01, logarithmic', '8, 16')
    """
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(written, distribution.choices))
    if isinstance(distribution, IntDistribution | FloatDistribution):
        step = f", in steps of {distribution.step:g}" if distribution.step not in (None, 1) else ""
        log = ", logarithmic" if distribution.log else ""
        return f"{distribution.low:g} to {distribution.high:g}{step}{log}"
    return str(distribution)
