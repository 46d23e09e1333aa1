"""Scores that a search chooses by."""


def mean_scores(folds: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each score.

    >>> mean_scores([{"loss": 1.0}, {"loss": 2.0}])
    {'loss': 1.5}
    """
    return {name: sum(scores[name] for scores in folds) / len(folds) for name in folds[0]}
