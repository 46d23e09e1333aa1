"""Scripts in this process: exit codes, what goes to standard error, and what one job does to the others."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from genregrid.cli import train
from genregrid.cli.job import Job, Main
from genregrid.cli.script import run_script
from genregrid.record.folder import ERROR_FILE
from genregrid.stream import safe_streams

Run = Callable[..., int]


@pytest.fixture(autouse=True)
def restored_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # the script sets it


@pytest.fixture
def run(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(main, *arguments)` runs a function as evaluate.py would and returns the exit code."""

    def start_main(main: Main, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments])
        return run_script(main, {}, project_root / "conf", "evaluate")

    return start_main


@pytest.mark.parametrize(
    ("name", "arguments", "start_of_line"),
    [
        ("train", ("slcie=3",), "slcie: "),
        ("train", ("model=foo",), "model=foo: "),
        ("train", ("search.num_trials=3",), "search.num_trials=3: "),
        ("train", ("sweep=grids", "search.num_trials=3"), "search.num_trials=3: "),
        ("train", ("-m", "sweep=optuna", "experiment=paper"), "sweep=optuna: "),
        ("train", ("split=row", "logger=none"), "split=row"),
        ("train", ("model.dropout=2", "logger=none"), "model.dropout=2: "),
        ("train", ("trainer.devices=2", "model=knn", "logger=none"), "trainer.devices=2: "),
        ("train", ("-m", "seed=0,1", "launcher=local", "hydra.launcher.workers=0"), "hydra.launcher.workers=0: "),
        ("train", ("-m", "seed=0,1", "hydra.sweeper.max_batch_size=0"), "hydra.sweeper.max_batch_size=0: "),
        ("train", ("=3",), "=3: "),
        ("train", ("-m", "slice", "=", "3"), "=: "),
        ("evaluate", ("runs", "outputs"), "runs: "),
        ("evaluate", ("seed=1,2",), "seed=1,2: "),
        ("train", ("+foo=3",), "foo"),
        ("train", ("++foo=3", "logger=none"), "foo"),
        ("train", ("+model.foo=3", "logger=none"), ""),
        ("train", ("+trainer.foo=3", "logger=none"), "trainer.foo"),
        ("train", ("~slice",), ""),
        ("train", ("~model", "logger=none"), ""),
        ("train", ("~trainer", "logger=none"), "trainer: "),
        ("train", ("~trainer.devices", "logger=none"), "trainer.devices=null: "),
        ("train", ("~nothing",), "Could not delete"),
        ("train", ("slice",), "slice"),
        (
            "train",
            ("musik",),
            "musik: it is neither key=value nor a folder that exists; write key=value without spaces, such as",
        ),
        ("train", ("=",), ""),
        ("train", ("",), ""),
        ("train", ("slice=${oc.env:HOME}", "logger=none"), ""),
        ("train", ("slice=${nothing:1}", "logger=none"), ""),
        ("train", ("hydra.run.dir=${nothing}",), ""),
        ("train", ("trainer.threads=10000", "logger=none"), "trainer.threads=10000: "),
        ("train", ("trainer.max_epochs=1e9", "logger=none"), "trainer.max_epochs=1e"),
        ("train", ("trainer.accelerator=tpu2", "logger=none"), "trainer.accelerator=tpu2: "),
        ("train", ("model.learning_rate=nan", "logger=none"), "model.learning_rate=nan: "),
        ("train", ("-m", "sweep=optuna", "search.num_jobs=100000", "logger=none"), "search.num_jobs=100000: "),
        ("train", ("-m", "sweep=optuna", "search.num_trials=0", "logger=none"), "search.num_trials=0: "),
        ("train", ("search={num_trials:3}",), "search={num_trials:3}: its group is not chosen"),
        ("train", ("dataset=csv", "dataset.filtered=3", "logger=none"), "dataset.filtered=3: a list of tracks"),
        ("train", ("x" * 300,), "xxx"),
        ("evaluate", ("checkpoint=x", "dataset={path:x}"), "dataset={path:x}: its group is not chosen"),
        ("evaluate", ("Beyoncé (Live).mp3",), "Beyoncé (Live).mp3: it is not key=value; write `python evaluate.py "),
        ("evaluate", (), "give one of "),
        ("evaluate", ("checkpoint=x", "human=answers.csv"), "human=answers.csv: "),
        ("evaluate", ("runs=x", "split=track"), "split: "),
        ("evaluate", ("checkpoint=x", "audio=Some Song (Live), pt 1: it's.wav"), "checkpoint=x"),
        ("evaluate", ("audio=song.wav",), "audio=song.wav: "),
        ("evaluate", ("checkpoint=x", "dataset.recipe=kaggle-reflect"), "dataset.recipe=kaggle-reflect: "),
        ("evaluate", ("runs=nowhere",), "runs=nowhere"),
    ],
)
def test_a_users_mistake_ends_in_one_line_and_code_two(
    script: Run, name: str, arguments: tuple[str, ...], start_of_line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(name, *arguments) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(start_of_line)
    assert "run: " not in printed.out


def test_a_path_with_a_comma_is_one_job_of_a_grid(run: Run) -> None:
    paths = []

    def main(cfg: DictConfig, folder: Path, *_: object) -> None:
        paths.append(cfg.runs)

    assert run(main, "-m", "runs=nowhere, é (1)\\", "seed=0,1", "hydra.sweep.dir=grid (1)") == 0
    assert paths == ["nowhere, é (1)\\"] * 2
    assert Path("grid (1)/multirun.yaml").is_file()


@pytest.mark.parametrize("key", ["protocol", "label"])
def test_a_split_that_is_a_path_makes_no_folder_elsewhere(
    script: Run, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert script("train", f"split.{key}=x/../../../../outside/x", "logger=none") == 2
    assert capsys.readouterr().err.startswith(f"split.{key}=x/../")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_result_has_its_folder_in_the_last_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def main(cfg: DictConfig, folder: Path, *_: object) -> None:
        (folder / "result.txt").write_text("right")

    assert run(main, "hydra.run.dir=here") == 0
    assert capsys.readouterr().out == "run: here\n"


def test_error_txt_of_others_is_kept(run: Run) -> None:
    Path("here").mkdir()
    Path("here/error.txt").write_text("mine")
    assert run(lambda *_: None, "hydra.run.dir=here") == 0
    assert Path("here/error.txt").read_text() == "mine"


def test_a_run_that_writes_nothing_leaves_no_folder(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda *_: None, "hydra.run.dir=here") == 0
    assert not Path("here").exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (PermissionError(13, "Permission denied", "here"), 2, "here: Permission denied; hydra.run.dir="),
        (KeyboardInterrupt(), 130, "interrupted; what was written so far is in here."),
    ],
)
def test_what_ends_a_run_is_one_line_and_a_code(
    run: Run, error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(cfg: DictConfig, folder: Path, *_: object) -> None:
        (folder / "file").touch()
        raise error

    assert run(main, "hydra.run.dir=here") == code
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.startswith(line)


def test_a_job_without_room_in_a_grid_writes_the_sentence_alone(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def main(cfg: DictConfig, folder: Path, *_: object) -> None:
        if cfg.seed == 1:
            raise OSError(28, "No space left on device", "file")
        (folder / "config.yaml").touch()

    assert run(main, "-m", "seed=0,1", "hydra.sweep.dir=grid") == 2
    sentence = "file: No space left on device; hydra.sweep.dir=PATH writes elsewhere."
    (reason,) = Path("grid").rglob(ERROR_FILE)
    assert reason.read_text() == f"{sentence}\n"
    printed = capsys.readouterr()
    assert f"{reason.parent}: {sentence}\n" in printed.err
    assert printed.out.splitlines()[-1] == "run: grid"


def test_a_job_that_cannot_write_its_error_ends_a_grid_in_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_text(path: Path, text: str, **_: object) -> None:
        raise OSError(28, "No space left on device", str(path.name))

    def main(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Path, "write_text", write_text)
    assert run(main, "-m", "seed=0,1", "hydra.sweep.dir=grid") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"{ERROR_FILE}: No space left on device; hydra.sweep.dir=PATH writes elsewhere."


def test_a_grid_that_cannot_be_written_names_its_setting(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert run(prints, "-m", "seed=0,1", "hydra.sweep.dir=file/grid") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("file/grid: ")
    assert "; hydra.sweep.dir=PATH" in line
    assert run(prints, "hydra.run.dir=file/run") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "; hydra.run.dir=PATH" in line


def test_a_fault_of_the_program_raises(run: Run) -> None:
    def main(cfg: DictConfig, folder: Path, *_: object) -> None:
        raise AssertionError("a fault")

    with pytest.raises(AssertionError, match="a fault"):
        run(main)


def test_a_job_that_fails_in_a_grid_leaves_its_reason_and_the_others_run(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(cfg: DictConfig, folder: Path, *_: object) -> None:
        if cfg.seed == 1:
            raise ZeroDivisionError("by zero")
        (folder / "config.yaml").touch()

    assert run(main, "-m", "seed=0,1,2", "hydra.sweep.dir=grid") == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "run: grid"
    assert "grid: 0 of 3 jobs done, 1 failed, 2 started" in printed.out
    assert "ZeroDivisionError: by zero" in printed.err
    assert "Traceback" not in printed.err
    (reason,) = Path("grid").rglob(ERROR_FILE)
    assert reason.read_text().startswith("ZeroDivisionError: by zero\n\nTraceback")
    assert reason.parent.name == "evaluate-job1"
    assert len(list(Path("grid").rglob("config.yaml"))) == 2


def test_ctrl_c_in_a_grid_names_its_folder(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def main(cfg: DictConfig, folder: Path, *_: object) -> None:
        raise KeyboardInterrupt

    assert run(main, "-m", "seed=0,1", "hydra.sweep.dir=grid") == 130
    assert capsys.readouterr().err == "interrupted; finished jobs are in grid; resume=true resumes the grid.\n"


def test_a_job_arrives_in_another_process_without_its_state() -> None:
    job = Job(train.main)
    job.has_failed, job.folder = True, Path("here")
    again = pickle.loads(pickle.dumps(job))
    assert (again.has_failed, again.folder, again.__wrapped__) == (False, None, train.main)


def test_the_jobs_of_a_process_read_corpora_by_one_reader(run: Run) -> None:
    readers: list[object] = []

    def main(cfg: DictConfig, folder: Path, corpora: object, fitted: object) -> None:
        readers.append(corpora)

    assert run(main, "-m", "seed=0,1", "hydra.sweep.dir=grid") == 0
    assert len(readers) == 2
    assert readers[0] is readers[1]
    first, second = (pickle.loads(pickle.dumps(Job(train.main))) for _ in range(2))
    assert first.corpora is second.corpora  # two jobs that arrive in one worker process


def test_a_closed_standard_output_is_no_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with safe_streams():  # as in `errors.command`
        assert run(prints) == 0


def prints(cfg: DictConfig, folder: Path, *_: object) -> None:
    (folder / "file").touch()
    sys.stdout.isatty()


def test_an_interruption_names_no_folder_that_was_removed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(is_interrupted) == 130
    assert capsys.readouterr().err == "interrupted.\n"


def is_interrupted(*_: object) -> None:
    raise KeyboardInterrupt
