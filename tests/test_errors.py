"""Claims about `genregrid.errors`: fields make one sentence, cross from process to process, and end a command."""

import pickle

import pytest

from genregrid.errors import UserError, command, printable


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


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("1 or more", key="--limit", value=0), 2, "--limit=0: 1 or more."),
        (ModuleNotFoundError("no", name="soxr"), 2, 'soxr: not installed; run `pip install -e ".[audio]"`.'),
        (PermissionError(13, "Permission denied", "out"), 2, "out: Permission denied."),
        (BrokenPipeError(32, "Broken pipe"), 2, "output: Broken pipe."),
        (KeyboardInterrupt(), 130, "interrupted; the same command resumes."),
    ],
)
def test_a_command_reports_a_mistake_in_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command(extra="audio", resume="the same command resumes")
    def main() -> None:
        raise error

    assert main() == code
    assert capsys.readouterr().err == f"{line}\n"


def test_a_command_returns_the_code_of_its_function_and_raises_what_is_no_mistake() -> None:
    @command()
    def main(number: int) -> int | None:
        if number > 1:
            raise ModuleNotFoundError("no", name="soxr")
        return {0: None, 1: 3}[number]

    assert (main(0), main(1)) == (0, 3)
    with pytest.raises(ModuleNotFoundError):
        main(2)


def test_a_sentence_is_one_line_without_control_characters() -> None:
    sentence = str(UserError("a\x1b[2J\nb", key="x\r.csv", value="\u202egnp", hint="c\x07"))
    assert sentence.isprintable()
    assert sentence == r"x\r.csv=\u202egnp: a\x1b[2J\nb; c\x07."


def test_a_sentence_about_a_cell_of_megabytes_is_short() -> None:
    error = UserError("y" * 10**6, key="k" * 10**6, value="v" * 10**6)
    assert len(str(error)) < 1000
    assert str(error).count("...") == 3


def test_letters_that_join_are_shown_as_they_are() -> None:
    assert printable("\u0646\u06cc\u200c\u0627") == "\u0646\u06cc\u200c\u0627"
