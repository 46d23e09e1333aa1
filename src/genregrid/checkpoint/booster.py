"""The text of a LightGBM booster: checked before LightGBM reads it, as its loader and its trees trust their numbers."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_LEAVES = 2**13  # of a tree; LightGBM's loader recurses into it
_NUMBER = r"-?\d{1,25}(?:\.\d{1,25})?(?:[eE][-+]?\d{1,3})?"
_NUMBERS = rf"(?:{_NUMBER})?(?: {_NUMBER})*"
_WHOLE = r"(?:-?\d{1,9})?(?: -?\d{1,9})*"
_HEAD = re.compile(
    r"tree\nversion=v[34]\nnum_class=(?P<classes>\d{1,5})\nnum_tree_per_iteration=(?P<per_round>\d{1,5})\n"
    r"label_index=0\nmax_feature_idx=(?P<last_feature>\d{1,7})\n"
    rf"objective=(?P<objective>multiclass num_class:\d+|multiclassova num_class:\d+ sigmoid:{_NUMBER}"
    rf"|binary sigmoid:{_NUMBER})\n"
    r"(?:average_output\n)?feature_names=(?P<names>[\w ]*)\n"
    rf"feature_infos=(?P<infos>(?:none|\[{_NUMBER}:{_NUMBER}\])(?: (?:none|\[{_NUMBER}:{_NUMBER}\]))*)\n"
    r"tree_sizes=(?P<sizes>\d{1,9}(?: \d{1,9})*)\n\n"
)
# The arrays of a tree, in LightGBM's order: those of leaves have a value for each leaf, the others for each inner node.
_ARRAYS = {
    "split_feature": _WHOLE,
    "split_gain": _NUMBERS,
    "threshold": _NUMBERS,
    "decision_type": _WHOLE,
    "left_child": _WHOLE,
    "right_child": _WHOLE,
    "leaf_value": _NUMBERS,
    "leaf_weight": _NUMBERS,
    "leaf_count": _WHOLE,
    "internal_value": _NUMBERS,
    "internal_weight": _NUMBERS,
    "internal_count": _WHOLE,
}
_TREE = re.compile(
    r"Tree=(\d{1,9})\nnum_leaves=(\d{1,5})\nnum_cat=0\n"
    + "".join(f"{name}=({values})\n" for name, values in _ARRAYS.items())
    + rf"is_linear=0\nshrinkage={_NUMBER}\n\n\n"
)
# What LightGBM keeps but does not use for predictions: importances and parameters.
_TAIL = re.compile(
    r"end of trees\n\nfeature_importances:\n(?:\w{1,50}=\d{1,20}\n)*"
    r"(?:\nparameters:\n(?:\[\w{1,60}: [^\n\]]{0,2000}\]\n)*\nend of parameters\n)?(?:\npandas_categorical:null\n?)?\n?"
)


def check_booster(text: str) -> int:
    """Check the text of a fitted booster and return the number of features that it needs.

    Raises:
        ValueError: LightGBM does not write such a text for a classifier of numbers, or a tree's nodes, features or
            array lengths do not fit together.
    """
    head = _HEAD.match(text)
    if head is None:
        raise ValueError("a booster does not begin as one of a classifier")
    num_features = int(head["last_feature"]) + 1
    per_round, num_classes = int(head["per_round"]), int(head["classes"])
    is_binary = head["objective"].startswith("binary")
    named = num_classes if is_binary else int(re.findall(r"num_class:(\d+)", head["objective"])[0][:9])
    if not 1 <= per_round == num_classes == named or is_binary != (num_classes == 1):
        raise ValueError("a booster has another number of genres than of trees per round")
    if not len(head["names"].split()) == len(head["infos"].split()) == num_features:
        raise ValueError("a booster does not describe each feature")
    sizes = np.array(head["sizes"].split(), np.int64)
    if len(sizes) % per_round:
        raise ValueError("a booster's last round is not whole")
    start, trees = head.end(), []
    for number, size in enumerate(sizes.tolist()):
        tree = _TREE.fullmatch(text, start, start + size)
        if tree is None or int(tree[1]) != number:
            raise ValueError("a booster has a tree that LightGBM does not write")
        trees.append(tree.groups()[1:])
        start += size
    if _TAIL.fullmatch(text, start) is None:
        raise ValueError("a booster does not end as one")
    _check_trees(trees, num_features)
    return num_features


def _check_trees(trees: list[tuple[str, ...]], num_features: int) -> None:
    """Check all trees at once; a tree is the text of its number of leaves and of its arrays."""
    leaves = np.array([tree[0] for tree in trees]).astype(np.int64)
    if (leaves < 1).any() or (leaves > _MOST_LEAVES).any():
        raise ValueError("a tree of a booster has too many leaves")
    nodes = leaves - 1
    arrays = {name: [tree[index].split() for tree in trees] for index, name in enumerate(_ARRAYS, 1)}
    for name, column in arrays.items():
        length = np.array([len(values) for values in column])
        is_right = length == (leaves if name.startswith("leaf_") else nodes)
        if name == "leaf_weight":  # a tree of one leaf has none
            is_right |= (nodes == 0) & (length == 0)
        if not is_right.all():
            raise ValueError("a tree of a booster has arrays of other lengths")
        if _ARRAYS[name] == _NUMBERS and not np.isfinite(_joined(column, np.float64)).all():
            raise ValueError("a tree of a booster has numbers that are not finite")
    names = ("split_feature", "decision_type", "left_child", "right_child")
    feature, kind, left, right = (_joined(arrays[name], np.int64) for name in names)
    if (feature < 0).any() or (feature >= num_features).any():
        raise ValueError("a tree of a booster compares a feature that is not there")
    if (kind % 2).any() or (kind < 0).any() or (kind > 10).any():  # an odd kind compares categories
        raise ValueError("a tree of a booster compares something other than numbers")
    tree = np.repeat(np.arange(len(nodes)), nodes)
    node = np.arange(len(tree)) - np.repeat(np.cumsum(nodes) - nodes, nodes)  # index of a node in its tree
    for child in (left, right):
        # -1 is leaf 0; a node comes after its parent, so that no path has a circle
        if ((child >= 0) & ((child <= node) | (child >= nodes[tree]))).any() or (child < -leaves[tree]).any():
            raise ValueError("the nodes of a booster's tree are not a tree")


def _joined(column: list[list[str]], dtype: type) -> NDArray[Any]:
    return np.array([value for values in column for value in values] or ["0"]).astype(dtype)
