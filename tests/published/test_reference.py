"""Published values are stored as printed."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from genregrid.published.reference import read_reference


def test_papers_table_has_five_columns_of_ten_genres() -> None:
    table = read_reference().table
    assert list(table) == ["model", "slice_seconds", "level", "metric", "genre", "value"]
    columns = table.groupby(["model", "slice_seconds"])
    assert sorted(columns.groups) == [("lstm", 3), ("lstm", 6), ("lstm", 9), ("mlp", 3), ("mlp", 30)]
    assert set(columns.size()) == {1 + 3 * 10}
    accuracy = table[table["metric"] == "accuracy"].set_index(["model", "slice_seconds"])["value"]
    assert accuracy.to_dict() == {
        ("mlp", 30): 0.74,
        ("mlp", 3): 0.66,
        ("lstm", 3): 0.93,
        ("lstm", 6): 0.76,
        ("lstm", 9): 0.73,
    }


def test_recalls_printed_with_certainties_are_those_of_the_mlp_but_for_two_precisions() -> None:
    reference = read_reference()
    scores = reference.table.pivot(index=["model", "slice_seconds", "genre"], columns="metric", values="value")
    certainty = reference.certainty.set_index(["model", "slice_seconds", "genre"])
    own = scores.loc[certainty.index]
    other = certainty["recall"] != own["recall"]
    assert certainty.index[other].get_level_values("genre").tolist() == ["metal", "pop"]
    assert (certainty["recall"] == own["precision"])[other].all()


def test_every_line_is_a_fraction_with_a_caveat() -> None:
    lines = read_reference().lines
    assert lines["value"].tolist() == [0.70, 0.61, 0.945]
    assert lines[["label", "caveat"]].notna().all(axis=None)


def test_an_unknown_reference_is_reported_with_the_known_ones(
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    with user_error("reference", "sturm", hint="paper"):
        read_reference("sturm")
