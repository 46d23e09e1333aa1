"""Claims about `genregrid.errors`: fields make one sentence, and cross from process to process."""

import pickle

import pytest

from genregrid.errors import UserError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("no such folder"), "no such folder."),
        (UserError("1 or more", key="search.num_folds", value=0), "search.num_folds=0: 1 or more."),
        (UserError("1 or more", key="trainer.patience", value=None), "trainer.patience=null: 1 or more."),
        (UserError("it is empty", key="a.csv", hint="give another"), "a.csv: it is empty; give another."),
    ],
)
def test_fields_make_one_sentence(error: UserError, sentence: str) -> None:
    assert str(error) == sentence


@pytest.mark.parametrize("value", [{}, {"value": None}, {"value": 3}])
def test_an_error_is_the_same_in_another_process(value: dict[str, int | None]) -> None:
    error = UserError("too short", key="slice", hint="choose 3", **value)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problem, again.key, again.value, again.hint) == (
        str(error),
        "too short",
        "slice",
        value.get("value"),
        "choose 3",
    )
