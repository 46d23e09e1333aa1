"""Mean scores of a trial, which a search compares. Imports neither torch nor Optuna."""


def mean_scores(folds: list[dict[str, float]]) -> dict[str, float]:
    """Average each score over folds.

    >>> mean_scores([{"loss": 1.0}, {"loss": 2.0}])
    {'loss': 1.5}
    """
    return {name: sum(scores[name] for scores in folds) / len(folds) for name in folds[0]}
