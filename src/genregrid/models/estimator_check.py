"""Check the numbers of an unpacked estimator before native code reads them without bounds.

Only classes of `genregrid.checkpoint.packed` come here. Their trees and boosters were checked before they were built.
Classes that predict by NumPy alone have no check of their own: NumPy checks every index and shape itself.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, NuSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.tree._tree import Tree  # what a tree's own module calls it; scikit-learn exports no other name

from genregrid.checkpoint.packed import check_nodes, unsound
from genregrid.models.kernel import MOST_ROWS, KernelRidgeClassifier, SetKernelClassifier

# By our own class, the class that older versions fitted in its place.
_FORMER = {"RadialSVM": "SVC", "BoostedTrees": "LGBMClassifier"}
# One row for each genre, or for each pair of genres.
_ROWS = ("class_log_prior_", "coef_", "feature_log_prob_", "means_", "centroids_", "intercept_", "theta_", "var_")


def check_estimator(estimator: Any, front: Sequence[Any], blank: Any, num_genres: int) -> None:
    """Check an unpacked estimator; neighbours are fitted again to their rows, which makes their search trees anew.

    Args:
        estimator: the fitted classifier with its transformers.
        front: unfitted transformers of the model, in their order.
        blank: the unfitted classifier of the model.
        num_genres: of the model.

    Raises:
        UserError: it is another estimator than the model's, it predicts other genres, or its numbers do not fit
            together.
    """
    _check_form(estimator, front, blank)
    for part in list(_parts(estimator, set())):
        attributes = vars(part)
        allowed = inspect.signature(type(part).__init__).parameters
        if any(hasattr(type(part), name) and name not in allowed for name in attributes):
            raise unsound(f"a {type(part).__name__} has an attribute instead of a method")
        if "n_jobs" in attributes and part.n_jobs is not None:
            part.n_jobs = torch.get_num_threads()  # a number that this machine has
        _check_sizes(part)
        for kinds, fitted, check in _CHECKS:
            if isinstance(part, kinds) and not attributes.keys().isdisjoint(fitted):
                check(part)
        if type(part).__module__ == "lightgbm.sklearn":
            _check_lightgbm(part)
    for classifier in (estimator, _last_step(estimator)):
        classes = classifier.classes_
        if not _is_array(classes, 1) or classes.dtype.kind != "i" or not len(classes):
            raise unsound("it has no genres")
        if classes[0] < 0 or classes[-1] >= num_genres or (np.diff(classes) <= 0).any():
            raise unsound(f"its genres are not among the {num_genres} of the model")


def _check_form(estimator: Any, front: Sequence[Any], blank: Any) -> None:
    """Check that an estimator is of the classes and settings of the model."""
    if not hasattr(blank, "predict_proba"):
        _require(type(estimator) is CalibratedClassifierCV, "it is another estimator than the model's")
        fitted = estimator.calibrated_classifiers_
        _require(isinstance(fitted, list) and len(fitted) == 1, "it has not one temperature")
        _require(estimator.method == fitted[0].method == "temperature", "it has not one temperature")
        _require(np.array_equal(estimator.classes_, fitted[0].classes), "its genres differ")
        estimator = fitted[0].estimator
    steps = _steps(estimator)
    _require(not isinstance(estimator, Pipeline) or estimator.memory is None, "it would write files")
    for step, expected in zip(steps, [*front, blank], strict=True):
        given, wanted = type(step), type(expected)
        # older versions fitted some classes of scikit-learn and LightGBM directly
        is_former = wanted.__module__.startswith("genregrid.") and (
            given.__name__ == _FORMER.get(wanted.__name__) or given in wanted.__mro__[1:]
        )
        _require(given is wanted or is_former, "it is another estimator than the model's")
        settings = [repr(each.get_params(deep=False)) for each in (step, expected)]  # as NaN does not equal itself
        _require(is_former or settings[0] == settings[1], "it was fitted with other settings than the model has")


def _steps(estimator: Any) -> list[Any]:
    return [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]


def _last_step(estimator: Any) -> Any:
    if isinstance(estimator, CalibratedClassifierCV):
        estimator = estimator.calibrated_classifiers_[0].estimator
    return _steps(estimator)[-1]


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield all objects with attributes that a value holds, itself included, each once."""
    if id(value) in seen or isinstance(value, type | str | int | float | np.generic | None):
        return
    seen.add(id(value))
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list | tuple):
        children = list(value)
    elif isinstance(value, np.ndarray):
        children = list(value.flat) if value.dtype == object else []
    elif type(value).__module__.startswith(("sklearn.", "genregrid.", "lightgbm.sklearn")) and hasattr(
        value, "__dict__"
    ):
        yield value
        children = list(vars(value).values())
    else:
        return
    for child in children:
        yield from _parts(child, seen)


def _check_sizes(part: Any) -> None:
    """Check sizes that would take memory at prediction."""
    classes = getattr(part, "classes_", None)
    if isinstance(part, Pipeline | CalibratedClassifierCV) or not isinstance(classes, np.ndarray):
        return
    count = getattr(part, "n_classes_", len(classes))
    _require(count == len(classes), "it has another number of genres than of names")
    most = max(1, len(classes) * (len(classes) - 1) // 2, len(classes))
    for name in _ROWS:
        rows = vars(part).get(name)
        _require(not isinstance(rows, np.ndarray) or rows.ndim == 0 or len(rows) <= most, "it has rows of no genre")


def _check_tree(tree: Any) -> None:
    inner = tree.tree_
    num = _num_features(tree)
    _require(isinstance(inner, Tree) and inner.n_features == num and tree.n_outputs_ == 1, "a tree has other features")


def _check_forest(forest: Any) -> None:
    num, trees = _num_features(forest), forest.estimators_  # each tree is checked by itself too
    _require(isinstance(trees, list) and len(trees) > 0 and forest.n_outputs_ == 1, "a forest has no trees")
    fit = (isinstance(tree, DecisionTreeClassifier) and tree.tree_.n_features == num for tree in trees)
    _require(all(fit), "a tree has other features than its forest")


def _check_gradient_boosting(model: Any) -> None:
    num, trees = _num_features(model), model.estimators_
    columns = 1 if len(model.classes_) == 2 else len(model.classes_)
    _require(_is_array(trees, 2) and trees.shape[0] > 0 and trees.shape[1] == columns, "it has not a tree per genre")
    _require(model.n_trees_per_iteration_ == columns, "it has not a tree per genre")
    for tree in trees.flat:
        fits = isinstance(tree, DecisionTreeRegressor) and tree.tree_.n_features == num
        _require(fits, "a tree has other features")
        _require(tree.tree_.value.shape[1:] == (1, 1), "a tree has more than one value")
    _require(isinstance(model.init_, str | DummyClassifier), "its first guess is unknown")
    first = model._raw_predict_init(np.zeros((1, num), np.float32))  # NumPy alone; the trees add to it without bounds
    _require(_is_array(first, 2) and first.shape == (1, columns), "its first guess has other genres")


def _check_histogram_boosting(model: Any) -> None:
    num, rounds = _num_features(model), model._predictors
    columns = 1 if len(model.classes_) == 2 else len(model.classes_)
    _require(model.n_trees_per_iteration_ == columns and isinstance(rounds, list), "it has not a tree per genre")
    _require(len(model._bin_mapper.bin_thresholds_) == num, "it has other features")
    for predictor in (tree for trees in rounds for tree in trees):
        nodes = predictor.nodes
        _require(not nodes["is_categorical"].any(), "it compares categories")
        check_nodes(nodes["left"], nodes["right"], nodes["is_leaf"] != 0, nodes["feature_idx"], num)


def _check_svm(machine: Any) -> None:
    num, classes = _num_features(machine), len(machine.classes_)
    pairs = classes * (classes - 1) // 2
    vectors, support, count = machine.support_vectors_, machine.support_, machine._n_support
    is_known = machine.kernel in ("linear", "poly", "rbf", "sigmoid") and machine._sparse is False
    _require(is_known and _is_array(vectors, 2) and vectors.shape[1] == num, "its support vectors have other features")
    _require(classes >= 2 and _is_array(count, 1) and len(count) == classes, "it has not a count for each genre")
    _require((count >= 0).all() and count.sum(dtype=np.int64) == len(vectors), "its counts are not of its vectors")
    _require(_is_array(support, 1) and len(support) == len(vectors) > 0, "its support vectors have no rows")
    _require(machine._dual_coef_.shape == (classes - 1, len(vectors)), "its weights are not of its vectors")
    _require(machine._intercept_.shape == (pairs,), "its intercepts are not of its genres")
    for values in (machine._probA, machine._probB):
        _require(_is_array(values, 1) and len(values) in (0, pairs), "its probabilities are not of its genres")
    _require(len(machine._probA) == len(machine._probB), "its probabilities are not of its genres")
    if machine.probability is True:
        _require(len(machine._probA) == pairs, "its probabilities are not of its genres")
    _require(type(machine.degree) is int and 0 <= machine.degree <= 100, "its degree is out of range")


def _check_clusters(model: Any) -> None:
    centres = model.cluster_centers_
    _require(_is_array(centres, 2) and centres.shape == (model.n_clusters, _num_features(model)), "it has no centres")
    model._n_threads = torch.get_num_threads()  # a number that this machine has


def _check_neighbours(model: Any) -> None:
    rows, genre, classes = model._fit_X, model._y, model.classes_
    _require(_is_array(rows, 2) and rows.dtype.kind == "f" and len(rows) > 0, "it has no rows")
    _require(_is_array(genre, 1) and genre.dtype.kind == "i" and len(genre) == len(rows), "its rows have no genres")
    _require(genre.min() >= 0 and genre.max() < len(classes), "its rows have other genres")
    # search trees are read without bounds; made anew, none of their numbers comes from the file
    fresh = clone(model).fit(rows, classes[genre])
    _require(np.array_equal(fresh.classes_, classes), "its rows have other genres")
    _require(fresh.metric != "precomputed", "it has no distances")
    if isinstance(fresh, KNeighborsClassifier):
        _require(1 <= fresh.n_neighbors <= len(rows), "it has fewer rows than neighbours")
    vars(model).clear()
    vars(model).update(vars(fresh))


def _check_mixture(model: Any) -> None:
    shape = (model.n_components, _num_features(model))
    _require(model.covariance_type == "diag" and model.n_components <= 10_000, "a mixture has other components")
    for values in (model.means_, model.covariances_, model.precisions_cholesky_):
        _require(_is_array(values, 2) and values.shape == shape, "a mixture has other components")


def _check_layers(model: Any) -> None:
    hidden = model.hidden_layer_sizes
    sizes = [_num_features(model), *([hidden] if isinstance(hidden, int) else hidden), model.n_outputs_]
    shapes = [weights.shape for weights in model.coefs_]
    _require(shapes == list(pairwise(sizes)), "its layers have other sizes")
    _require(model.n_layers_ == len(sizes), "its layers have other sizes")


def _check_kernel(model: Any) -> None:
    _require(0 < len(model.weights_) <= MOST_ROWS, "it has too many rows")
    rows = model.vectors_[1] if isinstance(model, SetKernelClassifier) else model.vectors_
    _require(len(rows) == len(model.weights_), "it has not a weight for each row")


def _check_bags(model: Any) -> None:
    num = _num_features(model)
    _require(
        all(len(chosen) <= num for chosen in model.estimators_features_), "a part has more features than there are"
    )


def _check_lightgbm(model: Any) -> None:
    num, genres = model._n_features, model._n_classes
    booster = model._Booster
    _require(type(booster).__module__ == "lightgbm.basic" and type(num) is int, "it has no booster")
    _require(num == model._n_features_in == booster.num_feature(), "its booster has other features")
    _require(genres == len(model._classes) and type(genres) is int, "its booster has other genres")
    _require(booster.num_model_per_iteration() == (1 if genres <= 2 else genres), "its booster has other genres")
    _require(isinstance(model._objective, str), "its booster has another objective")
    model.n_jobs = torch.get_num_threads()  # a number that this machine has


#: Classes, attributes of a fitted one, and the check. Without all of these attributes prediction raises.
_CHECKS: tuple[tuple[Any, tuple[str, ...], Callable[[Any], None]], ...] = (
    ((DecisionTreeClassifier, DecisionTreeRegressor), ("tree_",), _check_tree),
    ((ExtraTreesClassifier, RandomForestClassifier), ("estimators_",), _check_forest),
    (GradientBoostingClassifier, ("estimators_",), _check_gradient_boosting),
    (HistGradientBoostingClassifier, ("_predictors",), _check_histogram_boosting),
    ((SVC, NuSVC), ("support_vectors_",), _check_svm),
    (KMeans, ("cluster_centers_",), _check_clusters),
    ((KNeighborsClassifier, RadiusNeighborsClassifier), ("_fit_X", "_tree", "_fit_method"), _check_neighbours),
    (GaussianMixture, ("means_",), _check_mixture),
    (MLPClassifier, ("coefs_",), _check_layers),
    (KernelRidgeClassifier, ("weights_",), _check_kernel),
    (BaggingClassifier, ("estimators_features_",), _check_bags),
)


def _num_features(model: Any) -> int:
    """Return the number of features that a model checks its vectors for; without one it checks none."""
    num = vars(model).get("n_features_in_")
    _require(type(num) is int and num > 0, "it has no number of features")
    return int(num)


def _is_array(value: Any, num_axes: int) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == num_axes


def _require(is_sound: object, problem: str) -> None:
    if not is_sound:
        raise unsound(problem)
