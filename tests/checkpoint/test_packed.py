"""Estimators as bytes: what is refused before anything is built, and before native code reads its numbers."""

import io
import json
import re
import sys
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
import pytest
import skops.io
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from genregrid.checkpoint.packed import pack, unpack
from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorHead, build_estimator
from genregrid.models.kmeans import GenresOfClusters

Expect = Callable[..., AbstractContextManager[None]]
Entries = dict[str, bytes]
FOREST = "sklearn.ensemble.ExtraTreesClassifier"


def fitted(name: str, **arguments: Any) -> tuple[EstimatorHead, torch.Tensor]:
    """A head with an estimator fitted to three genres, and its vectors."""
    genre = np.arange(60) // 2 % 3
    vectors = (np.eye(3, 4)[genre] * 6 + np.random.default_rng(0).standard_normal((60, 4))).astype(np.float32)
    torch.manual_seed(0)
    head = EstimatorHead(3, 1e-6, build_estimator(name, arguments), [StandardScaler()])
    head.estimator = head.fitted(vectors, genre, np.arange(60) // 2)
    return head, torch.from_numpy(vectors)


def entries_of(head: EstimatorHead) -> Entries:
    with zipfile.ZipFile(io.BytesIO(head.get_extra_state().numpy().tobytes())) as file:
        return {name: file.read(name) for name in file.namelist()}


def state_of(entries: Entries) -> torch.Tensor:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return torch.frombuffer(bytearray(out.getvalue()), dtype=torch.uint8)


def with_arrays(entries: Entries, change: Callable[[Any], Any]) -> Entries:
    """Entries whose arrays went through `change`, which returns ``None`` for those that stay."""
    changed = dict(entries)
    for name, content in entries.items():
        array = change(np.load(io.BytesIO(content)).copy()) if name.endswith(".npy") else None
        if array is not None:
            out = io.BytesIO()
            np.save(out, array)
            changed[name] = out.getvalue()
    assert changed != entries
    return changed


def with_attribute(head: EstimatorHead, path: str, value: Any) -> torch.Tensor:
    """The state of a head after an attribute of its last step was set; `path` is ``part.attribute``."""
    found = head.estimator
    if hasattr(found, "calibrated_classifiers_"):
        found = found.calibrated_classifiers_[0].estimator
    found = found.steps[-1][1]
    *parts, name = path.split(".")
    for part in parts:
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    setattr(found, name, value(getattr(found, name)) if callable(value) else value)
    return head.get_extra_state()


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(user_error: Expect) -> None:
    bomb = state_of({"schema.json": b"0" * 100_000_000})
    with user_error("checkpoint", problem="unpack to"):
        unpack(bomb.numpy().tobytes())


def test_an_entry_of_another_size_than_declared_is_refused(user_error: Expect) -> None:
    packed = bytearray(state_of({"schema.json": b"{" * 10_000_000}).numpy().tobytes())
    for marker, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = packed.index(marker) + offset
        packed[start : start + 4] = (100).to_bytes(4, "little")
    with user_error("checkpoint"):
        unpack(bytes(packed))


@pytest.mark.parametrize("content", [b"", b"PK", b"[" * 100_000, b'{"__loader__": "JsonNode"}', b"[]", b"5"])
def test_a_damaged_schema_is_refused_in_one_sentence(content: bytes, user_error: Expect) -> None:
    with user_error("checkpoint"):
        unpack(state_of({"schema.json": content}).numpy().tobytes())
    with user_error("checkpoint"):
        unpack(content)


@pytest.mark.parametrize(
    "estimator",
    [np.sum, np.load, LogisticRegression().fit, {"a": StandardScaler().fit_transform}, np.array(["text"])],
    ids=["sum", "load", "fit", "transform", "text"],
)
def test_functions_methods_and_texts_in_arrays_are_refused(estimator: Any, user_error: Expect) -> None:
    with user_error("checkpoint"):
        unpack(skops.io.dumps(estimator))


@pytest.mark.parametrize("estimator", [GenresOfClusters(), LogisticRegression(), [1, 2], None, {}], ids=repr)
def test_a_bare_object_is_no_estimator(estimator: Any, user_error: Expect) -> None:
    head, _ = fitted("genregrid.models.kmeans.GenresOfClusters", num_clusters=3)
    with user_error("checkpoint"):
        head.set_extra_state(torch.frombuffer(bytearray(pack(estimator)), dtype=torch.uint8))


@pytest.mark.parametrize("state", [None, torch.zeros(3), torch.zeros(2, 2, dtype=torch.uint8)])
def test_a_state_that_is_no_row_of_bytes_is_refused(state: Any, user_error: Expect) -> None:
    with user_error("checkpoint"):
        EstimatorHead(3, 1e-6, None).set_extra_state(state)


def test_an_array_with_objects_or_another_shape_than_its_bytes_is_refused(user_error: Expect) -> None:
    head, _ = fitted("sklearn.linear_model.LogisticRegression")
    entries = entries_of(head)
    name = next(name for name in entries if name.endswith(".npy"))
    for old, new in ((b"(", b"(99999999, "), (b"<f8", b"|O8"), (b"<i8", b">i8"), (b"\x93NUMPY\x01", b"\x93NUMPY\x02")):
        changed = {key: value.replace(old, new, 1) for key, value in entries.items() if key != "schema.json"}
        assert changed != entries
        with user_error("checkpoint"):
            head.set_extra_state(state_of(entries | changed))
    with user_error("checkpoint"):
        head.set_extra_state(state_of({key: value for key, value in entries.items() if key != name}))


@pytest.mark.parametrize("value", [2**40, -5, 0], ids=str)
@pytest.mark.parametrize("field", ["left_child", "right_child", "feature"])
def test_a_tree_whose_nodes_are_out_of_range_or_in_a_circle_is_refused(
    field: str, value: int, user_error: Expect
) -> None:
    head, _ = fitted(FOREST, n_estimators=2)

    def change(array: Any) -> Any:
        if not array.dtype.names:
            return None
        array[field][0] = value if (field, value) != ("feature", 0) else 4  # there are features 0 to 3
        return array

    with user_error("checkpoint"):
        head.set_extra_state(state_of(with_arrays(entries_of(head), change)))


def test_numbers_that_are_not_finite_are_refused(user_error: Expect) -> None:
    head, _ = fitted("sklearn.linear_model.LogisticRegression")
    for value in (np.nan, np.inf):
        entries = with_arrays(entries_of(head), lambda array, v=value: array * v if array.dtype.kind == "f" else None)
        with user_error("checkpoint", problem="not finite"):
            head.set_extra_state(state_of(entries))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"left_child=\S+", "left_child=1000000000"),
        (r"left_child=\S+", "left_child=0"),
        (r"right_child=\S+", "right_child=-9"),
        (r"split_feature=\d+", "split_feature=4"),
        (r"decision_type=\d+", "decision_type=1"),
        (r"leaf_value=\S+", "leaf_value=nan"),
        (r"leaf_value=\S+ ", "leaf_value="),
        (r"threshold=\S+", "threshold=1e400"),
        (r"num_leaves=\d+", "num_leaves=99"),
        (r"num_cat=0", "num_cat=1"),
        (r"tree_sizes=\d+", "tree_sizes=3"),
        (r"max_feature_idx=3", "max_feature_idx=999999"),
        (r"num_class=3", "num_class=1000000000"),
        (r"num_tree_per_iteration=3", "num_tree_per_iteration=2"),
        (r"end of trees", "end of"),
        (r"Tree=1\n", "Tree=7\n"),
        (r"is_linear=0", "is_linear=1"),
    ],
)
def test_a_boosters_text_is_checked_before_lightgbm_reads_it(old: str, new: str, user_error: Expect) -> None:
    pytest.importorskip("lightgbm")
    head, _ = fitted("genregrid.models.boosting.BoostedTrees", num_rounds=2, min_leaf=3)
    entries = entries_of(head)
    schema = entries["schema.json"].decode()

    def change(match: re.Match[str]) -> str:
        text = json.loads(json.loads(match[0]))
        changed = re.sub(old, new, text, count=1)
        assert changed != text
        if not old.startswith("tree_sizes"):  # sizes that fit, so that the numbers themselves are found
            trees = changed.partition("\n\nTree=")[2]
            sizes = [len(tree) + 5 for tree in re.split("Tree=", "Tree=" + trees.partition("end of")[0])[1:]]
            changed = re.sub(r"tree_sizes=[\d ]+", f"tree_sizes={' '.join(map(str, sizes))}", changed)
        return json.dumps(json.dumps(changed))

    changed = re.sub(r'"\\"tree(?:[^"\\]|\\.)*"', change, schema)
    assert changed != schema
    with user_error("checkpoint"):
        head.set_extra_state(state_of(entries | {"schema.json": changed.encode()}))


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("genregrid.models.scikit_learn.RadialSVM", "machine_._n_support", lambda old: old * 1000),
        ("genregrid.models.scikit_learn.RadialSVM", "machine_._dual_coef_", lambda old: old[:, :1].copy()),
        ("genregrid.models.scikit_learn.RadialSVM", "machine_._intercept_", lambda old: old[:1].copy()),
        ("genregrid.models.scikit_learn.RadialSVM", "machine_.support_vectors_", lambda old: old[:, :1].copy()),
        ("genregrid.models.scikit_learn.RadialSVM", "machine_._sparse", True),
        ("genregrid.models.scikit_learn.RadialSVM", "machine_.kernel", "precomputed"),
        ("genregrid.models.scikit_learn.RadialSVM", "machine_.n_features_in_", 100),
        ("sklearn.svm.SVC", "_impl", "epsilon_svr"),
        ("genregrid.models.scikit_learn.NearestNeighbours", "_y", lambda old: old + 1000),
        ("genregrid.models.scikit_learn.NearestNeighbours", "_fit_X", lambda old: old[:2].copy()),
        ("sklearn.neighbors.KNeighborsClassifier", "n_neighbors", 1000),
        ("genregrid.models.kmeans.GenresOfClusters", "clusters_.cluster_centers_", lambda old: old[:, :1].copy()),
        ("sklearn.ensemble.GradientBoostingClassifier", "init_.class_prior_", lambda old: old[:1].copy()),
        ("sklearn.ensemble.GradientBoostingClassifier", "n_features_in_", 100),
        ("sklearn.ensemble.HistGradientBoostingClassifier", "n_trees_per_iteration_", 10**9),
        ("sklearn.ensemble.HistGradientBoostingClassifier", "n_features_in_", 2),
        ("sklearn.ensemble.RandomForestClassifier", "n_features_in_", 2),
        ("sklearn.ensemble.RandomForestClassifier", "n_classes_", 10**9),
        ("sklearn.tree.DecisionTreeClassifier", "n_features_in_", 2),
        ("sklearn.tree.DecisionTreeClassifier", "tree_", None),
        ("sklearn.neural_network.MLPClassifier", "hidden_layer_sizes", 9),
        ("sklearn.linear_model.LogisticRegression", "classes_", lambda old: old + 7),
        ("sklearn.linear_model.LogisticRegression", "classes_", lambda old: old[::-1].copy()),
        ("sklearn.linear_model.LogisticRegression", "coef_", lambda old: old.repeat(1000, axis=0)),
        ("sklearn.linear_model.LogisticRegression", "C", 5.0),
        ("genregrid.models.kernel.KernelRidgeClassifier", "vectors_", lambda old: old.repeat(1000, axis=0)),
        ("genregrid.models.kernel.SetKernelClassifier", "vectors_", lambda old: [old[0], old[1].repeat(1000)]),
        ("sklearn.ensemble.BaggingClassifier", "estimators_features_", lambda old: [part.repeat(9) for part in old]),
        ("sklearn.ensemble.BaggingClassifier", "estimators_", lambda old: old[:1] * len(old)),
        ("sklearn.ensemble.RandomForestClassifier", "estimators_", lambda old: old[:1] * 2),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of fits to few rows
def test_numbers_that_native_code_would_follow_are_checked(
    name: str, path: str, value: Any, user_error: Expect
) -> None:
    head, _ = fitted(name, **({"n_estimators": 2} if "Forest" in name or ".Gradient" in name else {}))
    if name.endswith("LogisticRegression") and path == "classes_":
        head.estimator.steps[-1][1].classes_ = value(head.estimator.steps[-1][1].classes_)
        state = head.get_extra_state()
    elif path == "_impl":
        vars(head.estimator.calibrated_classifiers_[0].estimator.steps[-1][1])["_impl"] = value
        state = head.get_extra_state()
    else:
        state = with_attribute(head, path, value)
    with user_error("checkpoint"):
        head.set_extra_state(state)


def test_neighbours_are_searched_in_a_tree_that_is_made_anew() -> None:
    head, vectors = fitted("genregrid.models.scikit_learn.NearestNeighbours")
    expected = head(vectors)

    def change(array: Any) -> Any:
        if array.dtype.names:  # the tree's nodes
            for field in array.dtype.names:
                array[field] = 2**40
            return array
        return None

    head.set_extra_state(state_of(with_arrays(entries_of(head), change)))
    torch.testing.assert_close(head(vectors), expected, atol=0, rtol=0)


def test_an_estimator_of_another_model_is_refused(user_error: Expect) -> None:
    head, _ = fitted("sklearn.naive_bayes.GaussianNB")
    other, _ = fitted("sklearn.linear_model.LogisticRegression")
    with user_error("checkpoint", problem="another estimator"):
        other.set_extra_state(head.get_extra_state())


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.tests.test_base.MyEstimator",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.experimental.enable_halving_search_cv.x",
        "lightgbm.plotting.LGBMClassifier",
        "genregrid.models.nothing.Classifier",
        "genregrid.models.sub.module.Classifier",
        "genregrid.cli.train.main",
        "sklearn.ensemble.RandomForestClassifier.fit",
        "sklearn..x",
        "x" * 10_000,
        5,
    ],
)
def test_no_module_is_imported_before_its_name_passed(name: Any, user_error: Expect) -> None:
    before = set(sys.modules)
    with user_error("model.estimator"):
        build_estimator(name, {})
    assert set(sys.modules) == before


@pytest.mark.parametrize("name", ["gaussian_process.GaussianProcessClassifier", "semi_supervised.LabelSpreading"])
def test_a_classifier_whose_numbers_nothing_checks_is_refused_before_training(name: str, user_error: Expect) -> None:
    with user_error("model.estimator", f"sklearn.{name}"):
        build_estimator(f"sklearn.{name}", {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_estimators", 10**9),
        ("n_jobs", 10**6),
        ("max_depth", [[1] * 10] * 10),
        ("max_depth", [1] * 1000),
        ("criterion", "x" * 10_000_000),
        ("criterion", "\x1b[31m"),
        ("min_impurity_decrease", float("nan")),
        ("min_impurity_decrease", float("inf")),
        ("class_weight", dict.fromkeys(range(1000), 1.0)),
        ("criterion", print),
    ],
)
def test_arguments_are_checked_by_kind_and_size(key: str, value: Any, user_error: Expect) -> None:
    with user_error(f"model.{key}"):
        build_estimator(FOREST, {key: value})


@pytest.mark.parametrize("name", ["n_jobs", "num_threads", "num_thread", "nthreads", "nthread"])
def test_threads_are_few_under_each_of_their_names(name: str, user_error: Expect) -> None:
    pytest.importorskip("lightgbm")
    build_estimator("lightgbm.LGBMClassifier", {name: 2})
    for arguments, names in (({name: 100_000}, {}), ({"jobs": 100_000}, {"jobs": name})):
        with user_error(f"model.{next(iter(arguments))}"):
            build_estimator("lightgbm.LGBMClassifier", arguments, names)


@pytest.mark.parametrize("names", [[("a", "b")], {"a": 5}, {"a" * 1000: "b"}, {"a b": "c"}, "ab"])
def test_names_of_arguments_are_checked(names: Any, user_error: Expect) -> None:
    with user_error("model.names"):
        build_estimator(FOREST, {}, names)


class Odd(LogisticRegression):  # type: ignore[misc]  # scikit-learn ships no types
    """A classifier with given probabilities."""

    def __init__(self, probs: Any) -> None:
        self.probs = probs
        self.classes_ = np.arange(2)

    def predict_proba(self, vectors: Any) -> Any:
        if isinstance(self.probs, Exception):
            raise self.probs
        return np.array(self.probs)


@pytest.mark.parametrize(
    "probs",
    [
        [[0.5, np.nan]],
        [[0.7, 0.7]],
        [[1.5, -0.5]],
        [[1.0]],
        [0.5, 0.5],
        IndexError(),
        TypeError("several\nlines"),
        ZeroDivisionError("x"),
    ],
    ids=repr,
)
def test_probabilities_that_are_none_are_one_sentence(probs: Any, user_error: Expect) -> None:
    head = EstimatorHead(2, 1e-6, None)
    head.estimator = Odd(probs)
    with user_error("model"):
        head(torch.zeros(1, 3))


@pytest.mark.filterwarnings("ignore")  # of overflows
@pytest.mark.parametrize("value", [1e30, 3.4e38, float("inf"), float("nan")], ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "genregrid.models.gmm.MixturePerGenre",
        "genregrid.models.kernel.KernelRidgeClassifier",
        "genregrid.models.kmeans.GenresOfClusters",
        "genregrid.models.scikit_learn.GaussianPerGenre",
        "genregrid.models.scikit_learn.NearestNeighbours",
        "genregrid.models.scikit_learn.RadialSVM",
        "genregrid.models.scikit_learn.ShrunkenLDA",
        "sklearn.linear_model.LogisticRegression",
        FOREST,
    ],
)
def test_a_value_that_an_estimator_cannot_take_is_one_sentence(name: str, value: float) -> None:
    head, vectors = fitted(name)
    vectors[5, 2] = value
    batch = {"genre": torch.arange(60) // 2 % 3, "track": torch.arange(60) // 2, "features": vectors}
    uses = (lambda: head(vectors), lambda: head.fit([batch], lambda batch: batch["features"]), lambda: head(vectors))
    for use in uses:  # some estimators can take the value
        with suppress(UserError):
            use()
