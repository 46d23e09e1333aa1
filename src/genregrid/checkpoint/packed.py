"""A fitted estimator as bytes in skops's format; unpacking checks all of them before skops builds anything.

skops ensures that only types of a list are built. It does not check sizes, nor the numbers of trees and boosters, and
native code reads those without bounds. So `unpack` reads every node and array of the bytes itself, and gives skops a
copy of what it has checked. Numbers that are read at prediction only are checked by `genregrid.models.estimator_check`.
"""

import ast
import io
import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray

from genregrid.checkpoint.booster import check_booster
from genregrid.errors import UserError

_MOST_BYTES = 2**26  # unpacked; more only in proportion to the packed bytes, so that few cannot become many
_MOST_TIMES = 30  # unpacked bytes of a packed byte; measured on fitted estimators: 3 to 11
_MOST_SCHEMA = 2**27  # bytes; a forest of 300 trees has 6 MB
_FEWEST_BYTES = 60  # of the schema for each of its brackets; measured: 200 and more
_DEEPEST = 100  # nodes within each other; a boosted tree has 14
_LONGEST = 1000  # characters of a text that is no booster
_MOST_WHOLE = 2**130  # states of random generators have 128 bits

# Types in a checkpoint, by the node of skops that holds them. Each was read before it came on this list.
_CLASSIFIERS = (
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis",
    "sklearn.dummy.DummyClassifier",
    "sklearn.ensemble._bagging.BaggingClassifier",
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.ensemble._gb.GradientBoostingClassifier",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "sklearn.ensemble._weight_boosting.AdaBoostClassifier",
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.linear_model._logistic.LogisticRegressionCV",
    "sklearn.linear_model._passive_aggressive.PassiveAggressiveClassifier",
    "sklearn.linear_model._perceptron.Perceptron",
    "sklearn.linear_model._ridge.RidgeClassifier",
    "sklearn.linear_model._ridge.RidgeClassifierCV",
    "sklearn.linear_model._stochastic_gradient.SGDClassifier",
    "sklearn.naive_bayes.BernoulliNB",
    "sklearn.naive_bayes.GaussianNB",
    "sklearn.neighbors._classification.KNeighborsClassifier",
    "sklearn.neighbors._classification.RadiusNeighborsClassifier",
    "sklearn.neighbors._nearest_centroid.NearestCentroid",
    "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
    "sklearn.svm._classes.LinearSVC",
    "sklearn.svm._classes.NuSVC",
    "sklearn.svm._classes.SVC",
    "sklearn.tree._classes.DecisionTreeClassifier",
    "sklearn.tree._classes.ExtraTreeClassifier",
    "lightgbm.sklearn.LGBMClassifier",
    "genregrid.models.boosting.BoostedTrees",
    "genregrid.models.gmm.MixturePerGenre",
    "genregrid.models.kernel.KernelRidgeClassifier",
    "genregrid.models.kernel.SetKernelClassifier",
    "genregrid.models.kmeans.GenresOfClusters",
    "genregrid.models.scikit_learn.GaussianPerGenre",
    "genregrid.models.scikit_learn.NearestNeighbours",
    "genregrid.models.scikit_learn.RadialSVM",
    "genregrid.models.scikit_learn.ShrunkenLDA",
)
_PARTS = (
    "genregrid.models.whitening.GenreWhitening",
    "lightgbm.basic.Booster",
    "sklearn._loss.link.HalfLogitLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.cluster._kmeans.KMeans",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.mixture._gaussian_mixture.GaussianMixture",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.preprocessing._label.LabelBinarizer",
    "sklearn.preprocessing._label.LabelEncoder",
    "sklearn.tree._classes.DecisionTreeRegressor",
)
_SCALARS = ("bool", "bool_", "float32", "float64", "int32", "int64", "uint8", "uint32", "uint64")
_TRUSTED: dict[str, frozenset[str]] = {
    "ObjectNode": frozenset([*_CLASSIFIERS, *_PARTS]),
    "TreeNode": frozenset(["sklearn.tree._tree.Tree"]),
    "LossNode": frozenset(
        [
            "sklearn._loss._loss.CyHalfBinomialLoss",
            "sklearn._loss._loss.CyHalfMultinomialLoss",
            "sklearn.linear_model._sgd_fast.Hinge",
            "sklearn.linear_model._sgd_fast.ModifiedHuber",
            "sklearn.linear_model._sgd_fast.SquaredHinge",
        ]
    ),
    "NdArrayNode": frozenset(["numpy.ndarray", *(f"numpy.{name}" for name in _SCALARS)]),
    "JsonNode": frozenset(["builtins.str"]),
    "ListNode": frozenset(["builtins.list"]),
    "TupleNode": frozenset(["builtins.tuple"]),
    "DictNode": frozenset(["builtins.dict", "collections.OrderedDict"]),
    "DefaultDictNode": frozenset(["collections.defaultdict"]),
    "TypeNode": frozenset(["builtins.int", "builtins.str", "collections.OrderedDict", "numpy.int64"]),
    "RandomStateNode": frozenset(["numpy.random.mtrand.RandomState"]),
    "RandomGeneratorNode": frozenset(["numpy.random._generator.Generator"]),
}
# Nodes that take time at prediction.
_LARGE = ("ObjectNode", "TreeNode", "ListNode")
_NO_SCHEMA = "its schema is not one that skops writes"
# What NumPy writes before an array; its own reader takes ten times as long, and forests have thousands of arrays.
_HEADER = re.compile(
    rb"\{'descr': ('[<|][biuf]\d{1,2}'|[\[{][-\w '<|,:()\[\]]{1,1000}[\]}]), 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,15}(?:, \d{1,15}){1,3}|\d{1,15},)?)\), \} *\n"
)
_NAME = re.compile(r"[A-Za-z_]\w{0,99}")


def is_trusted(cls: type) -> bool:
    """Return whether checkpoints may hold a fitted classifier of this class."""
    return f"{cls.__module__}.{cls.__qualname__}" in _CLASSIFIERS


def pack(estimator: Any) -> bytes:
    """Return a fitted estimator in skops's format."""
    # compressed, as nine tenths of the bytes of trees are zeros
    packed: bytes = skops.io.dumps(estimator, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    return packed


def unpack(packed: bytes) -> Any:
    """Restore an estimator from bytes that may have been changed.

    Raises:
        UserError: the bytes are damaged, too large once unpacked, of a type that is not on the list, or their numbers
            would make native code read memory that is not theirs.
    """
    checked = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as source, zipfile.ZipFile(checked, "w") as target:
            names = _Check(source, target, len(packed)).all()
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return skops.io.load(checked, trusted=names)
    except UserError:
        raise
    except Exception as error:  # zipfile, json, numpy, skops and each class raise their own types for changed bytes
        raise unsound(f"it cannot be read ({type(error).__name__})") from error


def unsound(problem: str) -> UserError:
    """Return the error for an estimator of a checkpoint whose bytes or numbers no fit of genregrid writes."""
    return UserError(f"the estimator in it is damaged or changed: {problem}", key="checkpoint")


class _Check:
    """One pass over all nodes and arrays; what is sound is copied to `target`."""

    def __init__(self, source: zipfile.ZipFile, target: zipfile.ZipFile, num_packed: int) -> None:
        self._source, self._target = source, target
        self._entries = {entry.filename: entry for entry in source.infolist()}
        if len(self._entries) != len(source.infolist()):
            raise unsound("two of its entries have one name")
        num_bytes = sum(entry.file_size for entry in self._entries.values())
        if num_bytes > _MOST_BYTES + _MOST_TIMES * num_packed:
            raise unsound(f"{num_packed} bytes unpack to {num_bytes}")
        self._first: dict[int, Any] = {}
        self._names: set[str] = set()
        self._arrays: dict[str, NDArray[Any]] = {}

    def all(self) -> list[str]:
        """Check the schema and everything that it refers to, and return the names of its types."""
        content = self._read("schema.json", _MOST_SCHEMA)
        if (content.count(b"{") + content.count(b"[")) * _FEWEST_BYTES > len(content) + 2**16:
            raise unsound("its schema has too many brackets")
        schema = json.loads(content)
        if schema.get("protocol") != 2:  # that of skops 0.13 and later; an older one has other nodes
            raise unsound("it was written by another version of skops")
        self._node(schema, 0)
        self._target.writestr("schema.json", content)
        return sorted(self._names)  # and not all that are trusted, as skops copies the list for each node

    def _read(self, name: str, most: int) -> bytes:
        """Read an entry of at most `most` bytes, whatever its own header declares."""
        entry = self._entries.get(name)
        if entry is None or entry.file_size > most:
            raise unsound(f"{name} is missing or too large")
        with self._source.open(entry) as file:
            content = file.read(entry.file_size + 1)  # a size, as without one all that is there would be unpacked
        if len(content) != entry.file_size:
            raise unsound(f"{name} is shorter than declared")
        return content

    def _node(self, node: Any, depth: int) -> None:
        """Check a node of the schema and the nodes in it, in the order of skops."""
        number = node["__id__"]
        if type(number) is not int or number <= 0 or depth > _DEEPEST:
            raise unsound(_NO_SCHEMA)
        if number in self._first:  # skops takes the first node of a number for all of them
            return
        self._first[number] = node
        loader, name = node["__loader__"], f"{node['__module__']}.{node['__class__']}"
        if name not in _TRUSTED.get(loader, ()):
            raise UserError(f"the estimator in it has a part that is not trusted, {name}", key="checkpoint")
        self._names.add(name)
        children = self._children(node, loader)
        for child in children:
            self._node(child, depth + 1)
        if loader in ("ListNode", "NdArrayNode"):  # one tree a million times is a small file and a long prediction
            parts = [number for child in children if self._first[number := child["__id__"]]["__loader__"] in _LARGE]
            if len(parts) != len({*parts}):
                raise unsound("a list has one object twice")
        self._numbers(node, loader, name)

    def _children(self, node: Mapping[str, Any], loader: str) -> list[Any]:
        """Return the nodes in a node, by its kind."""
        content: Any = node.get("content")
        if loader in ("ListNode", "TupleNode"):
            return list(_of(list, content))
        if loader == "DictNode":
            return [node["key_types"], *_of(dict, content).values()]
        if loader == "DefaultDictNode":
            return [content["main"], content["default_factory"]]
        if loader == "RandomGeneratorNode":
            return [content["bit_generator"], content["seed_seq"]]
        if loader == "NdArrayNode" and node["type"] == "json":
            return [*_of(list, content), node["shape"]]
        if loader in ("TreeNode", "LossNode"):
            return [content, node["__reduce__"]["args"]]
        return [content] if loader in ("ObjectNode", "RandomStateNode") and content is not None else []

    def _numbers(self, node: Mapping[str, Any], loader: str, name: str) -> None:
        """Check the values of a node whose parts are sound."""
        if loader == "JsonNode":
            _check_scalar(_of(str, node["content"]))
        elif loader == "DictNode":
            keys = self._first[node["key_types"]["__id__"]]
            types = [self._first[type_["__id__"]] for type_ in keys["content"]]
            if keys["__loader__"] != "ListNode" or len(types) != len(node["content"]):
                raise unsound("a table has not one type for each key")
            if any(type_["__loader__"] != "TypeNode" for type_ in types):
                raise unsound("a key has no type")
            if any(len(key) > _LONGEST or not key.isprintable() for key in node["content"]):
                raise unsound("a key is too long")
        elif loader == "NdArrayNode":
            self._array(node, name)
        elif loader == "TreeNode":
            _check_tree(self._plain(node["__reduce__"]["args"]), self._plain(node["content"]))
        elif loader == "RandomStateNode":
            state = self._plain(node["content"])
            key, position = state["state"]["key"], state["state"]["pos"]
            if state["bit_generator"] != "MT19937" or key.shape != (624,) or not 0 <= position <= 624:
                raise unsound("a random state is not one")
        elif loader == "RandomGeneratorNode":
            seed = self._plain(node["content"]["seed_seq"])
            state = self._plain(node["content"]["bit_generator"])
            whole = [*state["state"].values(), state["has_uint32"], state["uinteger"], seed["entropy"]]
            is_seed = seed["pool_size"] == 4 and seed["spawn_key"] == () and seed["n_children_spawned"] == 0
            if state["bit_generator"] != "PCG64" or not is_seed or not all(map(_is_whole, whole)):
                raise unsound("a random state is not one")
        elif loader == "ObjectNode":
            self._object(node, name)

    def _object(self, node: Mapping[str, Any], name: str) -> None:
        """Check the attributes of an object, and all of a booster, which is read while it is built."""
        if name.endswith((".KDTree", ".BallTree", ".EuclideanDistance64")):  # built from a tuple, and built anew later
            return
        if node.get("content") is None:
            return
        content = self._first[node["content"]["__id__"]]
        if content["__loader__"] == "JsonNode" and content["content"] == "null":
            return
        if content["__loader__"] != "DictNode" or not all(map(_NAME.fullmatch, content["content"])):
            raise unsound(f"an object of {name} has no attributes")
        types = self._first[content["key_types"]["__id__"]]["content"]
        if any(self._first[type_["__id__"]]["__class__"] != "str" for type_ in types):
            raise unsound(f"an object of {name} has no attributes")
        if name == "lightgbm.basic.Booster":
            attributes = content["content"]
            text = self._plain(attributes["_handle"])
            if self._plain(attributes["_network"]) is not False or "handle" in attributes:
                raise unsound("a booster has a network")
            if not isinstance(text, str):
                raise unsound("a booster has no trees")
            try:
                check_booster(text)
            except ValueError as error:
                raise unsound(str(error)) from error

    def _array(self, node: Mapping[str, Any], name: str) -> None:
        """Check an array and copy its entry."""
        if node["type"] == "json":
            shape = self._plain(node["shape"])
            if name != "numpy.ndarray" or not isinstance(shape, tuple) or not 1 <= len(shape) <= 2:
                raise unsound("an array of objects has no shape")
            return
        file = node["file"]
        if node["type"] != "numpy" or file != f"{node['__id__']}.npy":
            raise unsound("an array is not in its own entry")
        content = self._read(file, self._entries[file].file_size if file in self._entries else 0)
        array = _array_of(content)
        if name != "numpy.ndarray" and array.ndim:
            raise unsound("a number is a whole array")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise unsound("it has numbers that are not finite")
        self._target.writestr(file, content)
        if array.dtype.names or array.size < 100_000:  # all that `_plain` is asked for, but not rows of training
            self._arrays[file] = array

    def _plain(self, node: Mapping[str, Any]) -> Any:
        """Return the value of a checked node that has only plain values in it."""
        node = self._first[node["__id__"]]
        loader, content = node["__loader__"], node.get("content")
        if loader == "JsonNode":
            return json.loads(node["content"])
        if loader == "ListNode":
            return [self._plain(child) for child in node["content"]]
        if loader == "TupleNode":
            return tuple(self._plain(child) for child in node["content"])
        if loader == "DictNode" and content is not None:
            return {key: self._plain(child) for key, child in content.items()}
        if loader == "NdArrayNode" and node["type"] == "numpy":
            return self._arrays[node["file"]]
        raise unsound("a plain value is an object")


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise unsound(_NO_SCHEMA)
    return value


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu")


def _check_scalar(text: str) -> None:
    """Check a JSON value: nothing nested, no long text, no control characters, no NaN, no very large number."""
    if text[:1] in ("{", "["):
        raise unsound("a value is nested")
    if text.startswith('"tree\\n'):  # a booster's, with its own check
        return
    if len(text) > _LONGEST:
        raise unsound("a value is too long")
    value = json.loads(text)
    if isinstance(value, str) and not value.isprintable():
        raise unsound("a text has control characters")
    if (isinstance(value, int) and abs(value) > _MOST_WHOLE) or (isinstance(value, float) and np.isnan(value)):
        raise unsound("a number is out of range")


def _array_of(content: bytes) -> NDArray[Any]:
    """Return the array of a .npy entry without a copy, if it has plain numbers only and is as long as it says."""
    length = int.from_bytes(content[8:10], "little")
    header = _HEADER.fullmatch(content[10 : 10 + length])
    if content[:8] != b"\x93NUMPY\x01\x00" or header is None:
        raise unsound("an array has another header than NumPy writes")
    dtype = _dtype_of(header[1].decode("ascii"))
    shape = tuple(int(number) for number in header[3].split(b",") if number.strip())
    size = dtype.itemsize
    for number in shape:
        size *= number
    if any(number > len(content) for number in shape) or size != len(content) - 10 - length:
        raise unsound("an array has another shape than its numbers")
    values = np.frombuffer(content, dtype, offset=10 + length)
    return values.reshape(shape, order="F" if header[2] == b"True" else "C")


@lru_cache(maxsize=100)
def _dtype_of(description: str) -> np.dtype[Any]:
    """Return the type of plain numbers, or of records of them, that a header describes."""
    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(description))
    kinds = [dtype] if dtype.names is None else [dtype[name] for name in dtype.names]
    if any(kind.kind not in "biuf" or kind.shape or not kind.isnative for kind in kinds) or len(kinds) > 20:
        raise unsound("an array is not of plain numbers")
    return dtype


def _check_tree(arguments: Any, state: Any) -> None:
    """Check the arguments and the state of a Tree, which are read by native code while it is built."""
    num_features, num_classes, num_outputs = arguments
    nodes, values = state["nodes"], state["values"]
    num_classes = np.asarray(num_classes)
    is_whole = type(num_features) is int and type(num_outputs) is int and num_classes.dtype.kind in "iu"
    if not is_whole or num_outputs != 1 or num_classes.shape != (1,) or not 1 <= num_classes[0] <= 10_000:
        raise unsound("a tree has not one output")
    if nodes.dtype.names is None or nodes.ndim != 1 or state["node_count"] != len(nodes):
        raise unsound("a tree has no nodes")
    if values.shape != (len(nodes), 1, num_classes[0]) or type(state["max_depth"]) is not int:
        raise unsound("a tree has not one value for each node")
    check_nodes(nodes["left_child"], nodes["right_child"], nodes["left_child"] == -1, nodes["feature"], num_features)
    if not np.isfinite(nodes["threshold"]).all():
        raise unsound("a tree has a threshold that is not finite")


def check_nodes(
    left: NDArray[Any], right: NDArray[Any], is_leaf: NDArray[np.bool_], feature: NDArray[Any], num_features: int
) -> None:
    """Check that nodes form a tree: children are in range and after their node, so that no path has a circle.

    Args:
        left: index of the left child, (node,) whole; not read for leaves.
        right: index of the right child, (node,) whole; not read for leaves.
        is_leaf: whether the node has no children, (node,).
        feature: index of the feature that the node compares, (node,) whole; not read for leaves.
        num_features: of the vectors.

    Raises:
        UserError: the nodes are not a tree.
    """
    parent = np.flatnonzero(~is_leaf)
    for child in (left[parent], right[parent]):
        if (child <= parent).any() or (child >= len(left)).any():
            raise unsound("the nodes of a tree are not a tree")
    if len(left) == 0 or (feature[parent] < 0).any() or (feature[parent] >= num_features).any():
        raise unsound("a tree compares a feature that is not there")
