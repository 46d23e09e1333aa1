"""The fitted estimators of `genregrid.models.estimator` as torch modules of the same mathematics, in float64.

Each computes logits, (row, class) float64, of vectors, (row, feature) float32 or float64.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorHead
from genregrid.models.gmm import MixturePerGenre
from genregrid.models.kernel import KernelRidgeClassifier, SetKernelClassifier
from genregrid.models.kmeans import GenresOfClusters
from genregrid.models.pooling import masked_mean
from genregrid.models.scikit_learn import RadialSVM
from genregrid.models.whitening import GenreWhitening


class Head(nn.Module):
    """An `EstimatorHead` in torch: transformers of vectors, the classifier, its temperature, smoothing.

    Args:
        head: with a fitted estimator.

    Raises:
        UserError: there is no such module for the estimator.
    """

    def __init__(self, head: EstimatorHead) -> None:
        super().__init__()
        estimator, self.factor = head.estimator, 1.0
        if isinstance(estimator, CalibratedClassifierCV):
            [fitted] = estimator.calibrated_classifiers_
            estimator, self.factor = fitted.estimator, float(fitted.calibrators[0].beta_)
        *front, last = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
        self.front = nn.Sequential(*map(_front, front))
        self.classifier = _classifier(last)
        self.smoothing, self.num_genres = head._smoothing, head._num_genres
        # (class, genre): training may lack a genre
        self.genre = _numbers(np.eye(self.num_genres)[head.estimator.classes_])

    def forward(self, *vectors: Tensor) -> Tensor:
        """Compute logarithms of smoothed probabilities, (row, genre) float32."""
        logits: Tensor = self.factor * self.classifier(self.front(vectors[0]), *vectors[1:])
        probs = logits.softmax(dim=1) @ self.genre
        return ((1 - self.smoothing) * probs + self.smoothing / self.num_genres).log().float()


def _numbers(values: ArrayLike, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    """Return a constant of a module, which an exported file keeps once."""
    return nn.Parameter(torch.tensor(np.asarray(values)).to(dtype), requires_grad=False)


def _front(transformer: Any) -> nn.Module:
    if isinstance(transformer, StandardScaler):
        return _Standardise(transformer)
    if isinstance(transformer, GenreWhitening):
        return _Linear(transformer.matrix_)
    raise _refusal(transformer)


def _refusal(estimator: Any) -> UserError:
    name = type(estimator).__name__
    return UserError(f"{name} has no form that runs without scikit-learn", key="model.estimator", value=name)


def _classifier(estimator: Any) -> nn.Module:
    """Build the module of a fitted classifier."""
    if isinstance(estimator, RadialSVM):
        estimator = estimator.machine_
    for kinds, build in _MODULES.items():
        if isinstance(estimator, kinds):
            return build(estimator)
    if type(estimator).__name__ in ("BoostedTrees", "LGBMClassifier"):  # LightGBM is an extra
        return _boosted(getattr(estimator, "booster_", estimator))
    raise _refusal(estimator)


class _Standardise(nn.Module):
    def __init__(self, scaler: StandardScaler) -> None:
        super().__init__()
        # scikit-learn computes in the type of the vectors
        self.mean, self.scale = _numbers(scaler.mean_, torch.float32), _numbers(scaler.scale_, torch.float32)

    def forward(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean) / self.scale


class _Linear(nn.Module):
    def __init__(self, matrix: ArrayLike, intercept: ArrayLike = 0.0) -> None:
        super().__init__()
        self.matrix, self.intercept = _numbers(matrix), _numbers(intercept)

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors.double() @ self.matrix + self.intercept


def _linear(estimator: Any) -> nn.Module:
    matrix, intercept = estimator.coef_, estimator.intercept_
    if len(matrix) == 1:  # two genres have one column
        matrix, intercept = np.vstack([0 * matrix, matrix]), np.append(0.0, intercept)
    return _Linear(matrix.T, intercept)


class _Quadratic(nn.Module):
    """A normal distribution per class."""

    def __init__(self, estimator: QuadraticDiscriminantAnalysis) -> None:
        super().__init__()
        scaled = zip(estimator.rotations_, estimator.scalings_, strict=True)
        self.matrix = _numbers([rotation * scaling**-0.5 for rotation, scaling in scaled])  # (class, feature, axis)
        self.mean = _numbers(np.asarray(estimator.means_)[:, None])  # (class, 1, feature)
        volume = [np.log(scaling).sum() for scaling in estimator.scalings_]
        self.intercept = _numbers(np.log(estimator.priors_) - 0.5 * np.array(volume))

    def forward(self, vectors: Tensor) -> Tensor:
        distance = ((vectors.double() - self.mean) @ self.matrix).square().sum(dim=2)  # (class, row)
        return self.intercept - 0.5 * distance.T


class _Mixtures(nn.Module):
    """A mixture of normal distributions with diagonal covariances per class."""

    def __init__(self, estimator: MixturePerGenre) -> None:
        super().__init__()
        mixtures = estimator.mixtures_
        self.sizes = [len(mixture.weights_) for mixture in mixtures]
        self.mean = _numbers(np.concatenate([mixture.means_ for mixture in mixtures]))  # (component, feature)
        precision = np.concatenate([mixture.precisions_cholesky_ for mixture in mixtures])
        weight = np.concatenate([mixture.weights_ for mixture in mixtures])
        self.precision, self.intercept = _numbers(precision), _numbers(np.log(weight) + np.log(precision).sum(axis=1))

    def forward(self, vectors: Tensor) -> Tensor:
        distance = ((vectors.double().unsqueeze(1) - self.mean) * self.precision).square().sum(dim=2)
        parts = torch.split(self.intercept - 0.5 * distance, self.sizes, dim=1)
        return torch.stack([part.logsumexp(dim=1) for part in parts], dim=1)


class _Distances(nn.Module):
    """Squared distances to rows, (row, other row) float64."""

    def __init__(self, rows: ArrayLike) -> None:
        super().__init__()
        self.rows = _numbers(rows)

    def forward(self, vectors: Tensor) -> Tensor:
        exact = vectors.double()
        squares = exact.square().sum(dim=-1, keepdim=True) + self.rows.square().sum(dim=1)
        return (squares - 2 * exact @ self.rows.T).clamp_min(0)


class _Clusters(nn.Module):
    """The shares of classes in the nearest cluster."""

    def __init__(self, estimator: GenresOfClusters) -> None:
        super().__init__()
        self.distances = _Distances(estimator.clusters_.cluster_centers_)
        self.logits = _numbers(np.log(estimator.shares_))

    def forward(self, vectors: Tensor) -> Tensor:
        return self.logits[self.distances(vectors).argmin(dim=1)]


class _Neighbours(nn.Module):
    """The shares of classes among the nearest rows."""

    def __init__(self, estimator: KNeighborsClassifier) -> None:
        super().__init__()
        if estimator.weights != "uniform" or estimator.effective_metric_ != "euclidean":
            raise _refusal(estimator)
        self.num_neighbours = estimator.n_neighbors
        self.distances = _Distances(estimator._fit_X)
        self.classes = _numbers(np.eye(len(estimator.classes_))[estimator._y])

    def forward(self, vectors: Tensor) -> Tensor:
        nearest = self.distances(vectors).topk(self.num_neighbours, dim=1, largest=False).indices
        return self.classes[nearest].mean(dim=1).log()


class _Kernel(nn.Module):
    """A weighted sum of radial kernels around rows."""

    def __init__(self, rows: ArrayLike, weights: ArrayLike, gamma: float) -> None:
        super().__init__()
        self.distances, self.weights, self.gamma = _Distances(rows), _numbers(weights), gamma

    def forward(self, vectors: Tensor) -> Tensor:
        distances: Tensor = self.distances(vectors)
        return (-self.gamma * distances).exp() @ self.weights


class _SetKernel(nn.Module):
    """The mean, over the slices of a window, of a kernel that is averaged over the slices of each training window."""

    def __init__(self, estimator: SetKernelClassifier) -> None:
        super().__init__()
        slices, count = estimator.vectors_
        each = np.repeat(estimator.weights_ / (count[:, None] * estimator.temperature_), count, axis=0)
        self.kernel = _Kernel(slices, each, estimator.gamma / estimator.num_features)
        self.front = nn.Identity() if estimator.front_ is None else _front(estimator.front_)

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        return masked_mean(self.kernel(self.front(features.double())), length)


class _Pairs(nn.Module):
    """A support vector machine for each pair of classes, and their votes; the last digits are by confidence."""

    def __init__(self, machine: SVC) -> None:
        super().__init__()
        if machine.kernel != "rbf" or machine.decision_function_shape != "ovr":
            raise _refusal(machine)
        num = len(machine.classes_)
        pairs = [(first, second) for first in range(num) for second in range(first + 1, num)]
        of = np.repeat(np.arange(num), machine.n_support_)  # class of each support vector
        dual = machine._dual_coef_
        columns = [
            np.where(of == first, dual[second - 1], np.where(of == second, dual[first], 0.0)) for first, second in pairs
        ]
        self.kernel = _Kernel(machine.support_vectors_, np.stack(columns, axis=1), machine._gamma)
        self.intercept = _numbers(machine._intercept_)
        first, second = np.array(pairs).T
        self.first, self.second = _numbers(np.eye(num)[first]), _numbers(np.eye(num)[second])  # (pair, class)

    def forward(self, vectors: Tensor) -> Tensor:
        decision: Tensor = self.kernel(vectors) + self.intercept
        if len(self.first) == 1:
            return torch.cat([decision, -decision], dim=1)
        is_second = (decision < 0).double()
        total = decision @ (self.first - self.second)
        return (1 - is_second) @ self.first + is_second @ self.second + total / (3 * (total.abs() + 1))


class _Trees(nn.Module):
    """The sum of the values of the leaves that a vector reaches in all trees.

    Args:
        trees: arrays of each tree: feature, threshold, left child, right child (all (node,); a leaf is its own child)
            and value (node, class).
    """

    def __init__(self, trees: list[tuple[Any, ...]]) -> None:
        super().__init__()
        sizes = np.array([len(tree[0]) for tree in trees])
        first = np.cumsum(sizes) - sizes  # nodes of all trees are in one list
        feature, threshold, left, right, value = (np.concatenate(part) for part in zip(*trees, strict=True))
        shift = np.repeat(first, sizes)
        self.depth = max(_depth(tree[2], tree[3]) for tree in trees)
        self.feature, self.root = _numbers(feature, torch.int64), _numbers(first, torch.int64)
        self.left, self.right = _numbers(left + shift, torch.int64), _numbers(right + shift, torch.int64)
        self.threshold, self.value = _numbers(threshold), _numbers(value)

    def forward(self, vectors: Tensor) -> Tensor:
        exact = vectors.double()
        node = self.root.expand(vectors.shape[0], -1)  # (row, tree)
        for _ in range(self.depth):
            is_left = exact.gather(1, self.feature[node]) <= self.threshold[node]
            node = torch.where(is_left, self.left[node], self.right[node])
        return self.value[node].sum(dim=1)


def _depth(left: Any, right: Any) -> int:
    """Return the number of steps from the root to the farthest leaf."""
    depth, nodes = 0, np.zeros(1, np.int64)
    while (left[nodes] != nodes).any():
        nodes = np.unique(np.concatenate([left[nodes], right[nodes]]))
        depth += 1
    return depth


class _Forest(nn.Module):
    def __init__(self, estimator: Any) -> None:
        super().__init__()
        trees = []
        for each in estimator.estimators_:
            tree, own = each.tree_, np.arange(each.tree_.node_count)
            is_leaf = tree.children_left == -1
            children = [np.where(is_leaf, own, child) for child in (tree.children_left, tree.children_right)]
            shares = tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True)
            trees.append((np.where(is_leaf, 0, tree.feature), tree.threshold, *children, shares / len(estimator)))
        self.trees = _Trees(trees)

    def forward(self, vectors: Tensor) -> Tensor:
        probs: Tensor = self.trees(vectors)
        return probs.log()


def _boosted(estimator: Any) -> nn.Module:
    """Build the trees of a LightGBM classifier; their leaves are numbered after their inner nodes."""
    num, frame = len(estimator.classes_), estimator.booster_.trees_to_dataframe()
    if (frame["missing_type"] == "Zero").any():
        raise UserError("its trees take zeros for missing numbers", key="model.estimator", value="LGBMClassifier")
    columns = 1 if num == 2 else num
    signs = np.array([[0.0, 1.0]]) if num == 2 else np.eye(num)
    trees = []
    for number, tree in frame.groupby("tree_index", sort=True):
        own = np.arange(len(tree))
        place = dict(zip(tree["node_index"], own, strict=True))
        is_leaf = tree["left_child"].isna().to_numpy()
        children = [
            np.array([place.get(child, index) for index, child in enumerate(tree[side])])
            for side in ("left_child", "right_child")
        ]
        feature = tree["split_feature"].fillna("0").str.removeprefix("Column_").astype(np.int64).to_numpy()
        value = np.where(is_leaf, tree["value"], 0.0)[:, None] * signs[int(number) % columns]
        trees.append((feature, tree["threshold"].astype(float).fillna(0.0).to_numpy(), *children, value))
    return _Trees(trees)


_MODULES: dict[Any, Callable[[Any], nn.Module]] = {
    (LogisticRegression, LinearDiscriminantAnalysis): _linear,
    QuadraticDiscriminantAnalysis: _Quadratic,
    MixturePerGenre: _Mixtures,
    GenresOfClusters: _Clusters,
    KNeighborsClassifier: _Neighbours,
    SetKernelClassifier: _SetKernel,  # before its base
    KernelRidgeClassifier: lambda estimator: _Kernel(
        estimator.vectors_, estimator.weights_ / estimator.temperature_, estimator.gamma / estimator.vectors_.shape[1]
    ),
    SVC: _Pairs,
    (ExtraTreesClassifier, RandomForestClassifier): _Forest,
}
