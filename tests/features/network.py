"""Weights of a network with the layers of musicnn, as small as tests need it, and a wheel that holds them."""

import io
import zipfile

import numpy as np
from numpy.typing import NDArray
from tests.checkpoint.bundle import bundle_of

Tensors = dict[str, NDArray[np.float32]]
NUM_FRONT, NUM_MIDDLE = (3, 2, 2, 1, 2), 4  # channels
SHAPES = [(7, 3), (7, 5), (4, 1), (3, 1), (2, 1)]  # of the kernels in front: frames, bands


def random_tensors(num_units: int = 5, num_tags: int = 3, seed: int = 0) -> Tensors:
    """Random weights; half of the scales are negative."""
    random = np.random.default_rng(seed)

    def norm(number: int, size: int) -> Tensors:
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        drawn = {part: random.standard_normal(size) for part in ("beta", "gamma", "moving_mean")}
        drawn["moving_variance"] = random.uniform(0.5, 2, size)
        return {f"{name}/{part}": values.astype(np.float32) for part, values in drawn.items()}

    def layer(name: str, *shape: int) -> Tensors:
        kernel, bias = random.standard_normal(shape) / 3, random.standard_normal(shape[-1])
        return {f"{name}/kernel": kernel.astype(np.float32), f"{name}/bias": bias.astype(np.float32)}

    made = norm(0, 1)
    for number, (shape, size) in enumerate(zip(SHAPES, NUM_FRONT, strict=True)):
        made |= layer(f"conv2d_{number}" if number else "conv2d", *shape, 1, size) | norm(1 + number, size)
    before = sum(NUM_FRONT)
    for number in range(5, 8):
        made |= layer(f"conv2d_{number}", 7, before, 1, NUM_MIDDLE) | norm(1 + number, NUM_MIDDLE)
        before = NUM_MIDDLE
    pooled = 2 * (sum(NUM_FRONT) + 3 * NUM_MIDDLE)
    made |= norm(9, pooled) | layer("dense", pooled, num_units) | norm(10, num_units)
    return made | layer("dense_1", num_units, num_tags)


def small_wheel() -> bytes:
    """A wheel as that of musicnn, with small networks of 200 units and 50 tags."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        for seed, name in enumerate(("MTT", "MSD")):
            index, data = bundle_of(random_tensors(200, 50, seed))
            wheel.writestr(f"musicnn/{name}_musicnn/.index", index)
            wheel.writestr(f"musicnn/{name}_musicnn/.data-00000-of-00001", data)
    return content.getvalue()
