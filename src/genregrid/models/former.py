"""Names of estimators in records: checkpoints, run.json and identities keep the class that an older version had.

So runs of both versions are the same runs: they resume each other and share a cell of a report.
"""

from collections.abc import Mapping
from typing import Any

_ROOM = "genregrid.models."
_SHELL, _DEEP_SHELL = f"{_ROOM}estimator.EstimatorClassifier", f"{_ROOM}deep_features.DeepFeatureLSTM"
#: The class of an older run, and the settings that replace it in today's YAML.
_FORMER: dict[str, dict[str, Any]] = {
    "boosting.Boosting": {"estimator": f"{_ROOM}boosting.BoostedTrees"},
    "extra_trees.ExtraTrees": {
        "estimator": "sklearn.ensemble.ExtraTreesClassifier",
        "names": {"num_trees": "n_estimators", "min_leaf": "min_samples_leaf"},
    },
    "gaussian.Gaussian": {"estimator": f"{_ROOM}scikit_learn.GaussianPerGenre"},
    "gmm.GMM": {"estimator": f"{_ROOM}gmm.MixturePerGenre"},
    "kernel_ridge.KernelRidge": {"estimator": f"{_ROOM}kernel.KernelRidgeClassifier"},
    "kmeans.KMeansClassifier": {"estimator": f"{_ROOM}kmeans.GenresOfClusters"},
    "knn.KNN": {"estimator": f"{_ROOM}scikit_learn.NearestNeighbours"},
    "lda.LDA": {"estimator": f"{_ROOM}scikit_learn.ShrunkenLDA"},
    "logistic.Logistic": {
        "estimator": "sklearn.linear_model.LogisticRegression",
        "names": {"inverse_penalty": "C"},
        "max_iter": 2000,
    },
    "lstm_knn.LSTMKNN": {"estimator": f"{_ROOM}scikit_learn.NearestNeighbours", "standardise": False},
    "lstm_svm.LSTMSVM": {"estimator": f"{_ROOM}scikit_learn.RadialSVM", "standardise": True},
    "set_kernel.SetKernel": {"estimator": f"{_ROOM}kernel.SetKernelClassifier"},
    "svm.SVM": {"estimator": f"{_ROOM}scikit_learn.RadialSVM"},
}


def today(name: str) -> tuple[str, dict[str, Any]]:
    """Return today's class of a model that a checkpoint names, and the arguments that older checkpoints lack.

    >>> today("genregrid.models.gmm.GMM")
    ('genregrid.models.estimator.EstimatorClassifier', {'estimator': 'genregrid.models.gmm.MixturePerGenre'})
    """
    arguments = _FORMER.get(name.removeprefix(_ROOM))
    if arguments is None:
        return name, {}
    return _DEEP_SHELL if "standardise" in arguments else _SHELL, arguments


def as_recorded(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `model` part of a configuration with the class that records name.

    >>> as_recorded({"_target_": _SHELL, "estimator": "genregrid.models.gmm.MixturePerGenre", "num_components": 3})
    {'_target_': 'genregrid.models.gmm.GMM', 'num_components': 3}
    """
    for name in _FORMER:
        target, arguments = today(_ROOM + name)
        if (arguments | {"_target_": target}).items() <= model.items():
            return {key: model[key] for key in model if key not in arguments} | {"_target_": _ROOM + name}
    return dict(model)
