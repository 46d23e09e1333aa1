"""The transform of descriptors before a model, fitted on training slices and saved in the checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import PowerTransformer
from torch import Tensor, nn

from genregrid.data.slice_rows import BLOCK_ROWS
from genregrid.errors import UserError

TRANSFORMS = ("standardise", "log_variance", "log", "quantile", "yeo_johnson")
_NUM_QUANTILES = 101  # percentiles: a corpus of a thousand slices has ten between two of them
# A value below a thousandth of its column's median is silence; its logarithm would be an outlier.
_FLOOR = 1e-3
_FARTHEST = 10.0  # deviations


class FeatureTransform(nn.Module):
    """Scaling of every descriptor to mean 0 and standard deviation 1, after one of five changes of its distribution.

    - ``standardise``: none.
    - ``log_variance``: the logarithm of variances (columns that end in ``_var``), at least that of a thousandth of the
      column's median.
    - ``log``: the same for variances and every other descriptor that is 0 or more in all training slices.
    - ``quantile``: the normal quantile of the share of training slices below the value, in steps of one percentile. The
      share is clipped half a step from its ends, so that all results are within 2.6 deviations.
    - ``yeo_johnson``: the power that makes the training slices most similar to a normal distribution; values are
      clipped at ten deviations, as high powers of outliers can be very large.

    `fit` sets all numbers. They are buffers and are saved with the weights.

    Args:
        kind: one of `TRANSFORMS`.
        feature_names: names of the feature axis.

    Attributes:
        is_fitted: whether its numbers are those of `fit` or of a checkpoint; before, they change nothing.

    Source: Yeo and Johnson, "A new family of power transformations to improve normality or symmetry", Biometrika 87,
    2000, for ``yeo_johnson``.
    """

    mean: Tensor
    scale: Tensor
    shape: Tensor

    def __init__(self, kind: str, feature_names: Sequence[str]) -> None:
        super().__init__()
        if kind not in TRANSFORMS:
            hint = f"choose one of {', '.join(TRANSFORMS)}"
            raise UserError("unknown transform", key="model.transform", value=kind, hint=hint)
        self.kind = kind
        self._is_variance = torch.tensor([name.endswith("_var") for name in feature_names])
        num = len(feature_names)
        rows = {"standardise": 0, "log_variance": 1, "log": 1, "quantile": _NUM_QUANTILES, "yeo_johnson": 3}[kind]
        self.register_buffer("mean", torch.zeros(num))
        self.register_buffer("scale", torch.ones(num))
        # (number, feature): floors, NaN for unchanged columns; quantiles; or mean, scale and power. Ones give finite
        # values before `fit`
        self.register_buffer("shape", torch.ones(rows, num))
        self.is_fitted = False
        self.register_load_state_dict_post_hook(_mark_fitted)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def fit(self, features: NDArray[np.float32] | Tensor, rows: NDArray[np.int64] | None = None) -> None:
        """Set all numbers from training slices; a constant feature becomes 0.

        Args:
            features: (row, feature) float32; never copied as a whole.
            rows: the rows to fit on, (row,) int64; ``None`` for all.
        """
        values = np.asarray(features)
        rows = np.arange(len(values)) if rows is None else rows
        columns = (values[rows, index].astype(np.float64) for index in range(values.shape[1]))

        def blocks() -> Iterator[NDArray[np.float32]]:
            return (values[rows[start : start + BLOCK_ROWS]] for start in range(0, len(rows), BLOCK_ROWS))

        shape = self.shape.numpy()
        if self.kind in ("log_variance", "log"):
            median, smallest = np.array([(np.median(column), column.min()) for column in columns]).T
            logarithmic = self._is_variance.numpy() | ((self.kind == "log") & (smallest >= 0))
            shape = np.where(logarithmic, _FLOOR * median, np.nan)[None]
        elif self.kind == "quantile":
            shares = np.linspace(0, 1, _NUM_QUANTILES)
            shape = np.stack([np.quantile(column, shares) for column in columns], axis=1)
        elif self.kind == "yeo_johnson":
            mean, scale = _mean_and_scale(blocks)  # float32 is too coarse for a power of raw values, which reach 1e7
            fitted = PowerTransformer(standardize=False)
            standard = (((column - m) / s)[:, None] for column, m, s in zip(columns, mean, scale, strict=True))
            shape = np.stack([mean, scale, [fitted.fit(column).lambdas_[0] for column in standard]])
        self.shape.copy_(torch.from_numpy(shape))
        mean, scale = _mean_and_scale(lambda: (self._shaped(torch.from_numpy(block)).numpy() for block in blocks()))
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))
        self.is_fitted = True

    def check(self) -> None:
        """Refuse numbers that `fit` cannot have set, such as those of a damaged checkpoint.

        Raises:
            UserError: a mean that is not finite, a scale that is not above 0, or a shape that is not of this kind.
        """
        shape = self.shape
        is_sound = self.mean.isfinite().all() and self.scale.isfinite().all() and (self.scale > 0).all()
        if self.kind in ("log_variance", "log"):  # variances have a floor
            is_sound &= (shape.isfinite() | (shape.isnan() & ~self._is_variance)).all()
        else:
            is_sound &= shape.isfinite().all()
        if self.kind == "quantile":
            is_sound &= (shape.diff(dim=0) >= 0).all()
        elif self.kind == "yeo_johnson":
            is_sound &= (shape[1] > 0).all()
        if not is_sound:
            raise UserError("its mean, scale or shape has values that no features give", key="model.transform")

    def forward(self, features: Tensor) -> Tensor:
        """Transform raw features, (..., feature) float32; the result is finite if they are."""
        transformed: Tensor = (self._shaped(features) - self.mean) / self.scale
        return transformed.clamp(-_FARTHEST, _FARTHEST) if self.kind == "yeo_johnson" else transformed

    def _shaped(self, features: Tensor) -> Tensor:
        if self.kind in ("log_variance", "log"):
            floor = self.shape[0].clamp_min(torch.finfo(torch.float32).tiny)  # for a column of silence only
            return torch.where(floor.isnan(), features, features.maximum(floor).log())
        if self.kind == "quantile":
            return _normal_quantile(features, self.shape)
        if self.kind == "yeo_johnson":
            return _yeo_johnson((features - self.shape[0]) / self.shape[1], self.shape[2])
        return features


def _mark_fitted(transform: FeatureTransform, _: object) -> None:
    """Note that a transform has the numbers of a checkpoint."""
    transform.is_fitted = True


def _mean_and_scale(
    blocks: Callable[[], Iterable[NDArray[np.float32]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute mean and deviation of each column of (row, feature) by blocks; 1 if it varies by rounding only."""
    num_rows = sum(map(len, blocks()))
    mean = _sum(block.astype(np.float64) for block in blocks()) / num_rows
    deviation = np.sqrt(_sum(np.square(block - mean) for block in blocks()) / num_rows)
    largest = np.max([np.abs(block).max(axis=0) for block in blocks()], axis=0).astype(np.float64)
    return mean, np.where(deviation <= 1e-7 * largest, 1.0, deviation)


def _sum(blocks: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Sum over rows, with the same last bit as a sum of all blocks at once: NumPy adds rows one by one."""
    total = None
    for block in blocks:
        total = (block if total is None else np.vstack([total, block])).sum(axis=0)
    return np.asarray(total)


def _normal_quantile(features: Tensor, quantiles: Tensor) -> Tensor:
    """Map features (..., feature) to quantiles of the normal distribution, by interpolation in (quantile, feature)."""
    num = len(quantiles)
    columns = features.reshape(-1, features.shape[-1]).T.contiguous()  # (feature, row)
    steps = quantiles.T.contiguous()  # (feature, quantile)
    above = torch.searchsorted(steps, columns, right=True).clamp(1, num - 1)
    low, high = steps.gather(1, above - 1), steps.gather(1, above)
    part = ((columns - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)).clamp(0, 1)
    share = ((above - 1 + part) / (num - 1)).clamp(0.5 / (num - 1), 1 - 0.5 / (num - 1))
    normal: Tensor = torch.special.ndtri(share)
    return normal.T.reshape(features.shape)


def _yeo_johnson(values: Tensor, power: Tensor) -> Tensor:
    """Apply Yeo and Johnson's equation 2.1; (..., feature) and (feature,) -> (..., feature)."""
    # both branches are computed for all values; each gets zeros in place of values of the other branch
    up, down = values.clamp_min(0).log1p(), (-values).clamp_min(0).log1p()
    return torch.where(values >= 0, _power(up, power), -_power(down, 2 - power))


def _power(log: Tensor, power: Tensor) -> Tensor:
    """Compute (exp(power * log) - 1) / power, or its limit `log` if the power is 0."""
    near_zero = power.abs() < 1e-6
    safe = torch.where(near_zero, 1.0, power)
    return torch.where(near_zero, log, torch.expm1(safe * log) / safe)
