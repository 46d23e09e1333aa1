"""Claims about the recipes by musicnn: their definition and rows, the weights, and the commands that use them.

Most tests run on small networks with the layers of the real ones, in a wheel that is written here.
"""

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray
from omegaconf import DictConfig
from tests.features.network import small_wheel

from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.note import read_note
from genregrid.data.reslice import reslice
from genregrid.data.table import read_table
from genregrid.errors import UserError
from genregrid.features import musicnn, weights
from genregrid.features.__main__ import main as extract
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.known_recipe import OPTIONS, Choice, columns_of, recipe_named
from genregrid.features.musicnn import NETWORKS, RATE_HZ, MusicnnRecipe, log_mel, window_starts
from genregrid.features.recipe import Recipe, SliceDescriber
from genregrid.listening.score import score_recordings
from genregrid.recording.audio import read_audio
from genregrid.training.run import train

LEARNED = ["musicnn-mtt", "musicnn-mtt-tags", "musicnn-msd", "musicnn-msd-tags"]
SMALL = small_wheel()
Refusal = Callable[..., AbstractContextManager[None]]


def noise(seconds: float, seed: int = 0, rate: int = RATE_HZ) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of small networks, in the folder of weights, that passes for the real one."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(weights, "WHEEL_SHA256", hashlib.sha256(SMALL).hexdigest())
    monkeypatch.setattr(weights, "WHEEL_BYTES", len(SMALL))
    (folder / weights.WHEEL_NAME).write_bytes(SMALL)
    musicnn._network.cache_clear()
    return folder / weights.WHEEL_NAME


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Two recordings of two genres, at 22 050 and 44 100 Hz."""
    for genre, seconds, rate in (("pop", 7.0, 22_050), ("rock", 9.5, 44_100)):
        (tmp_path / "music" / genre).mkdir(parents=True)
        soundfile.write(tmp_path / f"music/{genre}/one.wav", noise(seconds, rate=rate), rate)
    return tmp_path / "music"


def run(source: Path | str, *arguments: str | Path) -> int:
    return extract([str(source), "--workers", "1", *map(str, arguments)])


# the definition -----------------------------------------------------------------------------------------------------


def test_silence_has_a_spectrum_of_zeros() -> None:
    assert not log_mel(np.zeros(48_000, np.float32)).any()


@pytest.mark.parametrize("num_samples", [46_800, 48_000, 49_200, 95_000, 160_000, 479_000, 480_159, 2_000_001])
def test_windows_follow_each_other_and_leave_over_less_than_half_of_one(num_samples: int) -> None:
    *starts, last = window_starts(num_samples)
    assert starts == [48_000 * number for number in range(len(starts))]
    assert last in (48_000 * len(starts), max(0, num_samples - 48_000))
    assert last + 48_000 <= max(num_samples, 48_000)
    assert num_samples - (last + 48_000) <= 24_000


@pytest.mark.parametrize("recipe", [MusicnnRecipe("mtt"), MusicnnRecipe("msd", tags=True)], ids=lambda r: r.name)
def test_a_longer_slice_is_the_mean_of_its_windows(wheel: Path, recipe: Recipe) -> None:
    samples = noise(9.0)
    short, long = recipe.describe(samples, 3.0), recipe.describe(samples, 9.0)
    assert short.shape == (3, len(recipe.feature_names))
    np.testing.assert_allclose(long[0], short.mean(axis=0), rtol=1e-6)


def test_a_track_in_blocks_has_the_rows_of_the_whole_track(wheel: Path) -> None:
    samples, recipe = noise(14.0), MusicnnRecipe()
    describer = SliceDescriber(recipe, 3.0)
    for start in range(0, len(samples), 7_001):
        describer.add(samples[start : start + 7_001])
    rows = np.concatenate(describer.finish())
    np.testing.assert_array_equal(rows[:, 1:], recipe.describe(samples, 3.0))
    assert rows[:, 0].tolist() == [66_150] * 4  # samples at 22 050 Hz


def test_a_slice_has_the_same_values_alone_and_among_others(wheel: Path) -> None:
    samples, recipe = noise(9.0), MusicnnRecipe()
    np.testing.assert_array_equal(recipe.describe(samples, 3.0)[1], recipe.describe(samples[48_000:96_000], 3.0)[0])


def test_a_window_is_computed_once_for_all_tables(wheel: Path, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    monkeypatch.setattr(musicnn, "log_mel", lambda window: computed.append(len(window)) or log_mel(window))
    run(music, "--recipe", "musicnn-mtt-tags,musicnn-mtt", "--slice", "3,6", "--out", "all")
    assert computed == [48_000] * 5  # the recordings have two and three


@pytest.mark.parametrize("seconds", [2.93, 3.07])
def test_a_clip_of_about_three_seconds_is_one_row(wheel: Path, seconds: float) -> None:
    row = MusicnnRecipe().describe(noise(seconds), 3.0)
    assert row.shape == (1, 200)
    assert np.isfinite(row).all()


@pytest.mark.parametrize("name", LEARNED)
def test_a_recipe_is_found_by_its_name(name: str) -> None:
    recipe = recipe_named(name)
    assert recipe is not None
    assert recipe.name == recipe.option == name
    assert columns_of(name) == recipe.feature_names
    assert len(set(recipe.feature_names)) == (50 if name.endswith("tags") else 200)
    assert set(FEATURE_NAMES).isdisjoint(recipe.feature_names)
    assert all(column.endswith("_mean") and "," not in column for column in recipe.feature_names)


def test_columns_of_tags_have_their_names() -> None:
    columns = MusicnnRecipe("msd", tags=True).feature_names
    assert columns[:2] == ("msd_rock_mean", "msd_pop_mean")
    assert {"msd_female_vocalists_mean", "msd_Hip-Hop_mean", "msd_jazz_mean"} < set(columns)
    assert [len(tags) for tags in NETWORKS.values()] == [50, 50]


# the commands -------------------------------------------------------------------------------------------------------


def test_a_csv_by_musicnn_has_a_note_and_is_read_back(wheel: Path, music: Path) -> None:
    assert run(music, "--recipe", "musicnn-mtt", "--out", "f.csv") == 0
    note = read_note(Path("f.csv"))
    assert note is not None
    assert (note.recipe, note.slice_seconds) == ("musicnn-mtt", 3.0)
    table = read_table([Path("f.csv")], feature_names=MusicnnRecipe().feature_names)
    assert table.num_slices.tolist() == [2, 3]
    assert table.slice_seconds == 3.0
    for number, track in enumerate(("pop", "rock")):
        blocks: list[NDArray[np.float32]] = []
        read_audio(music / track / "one.wav", blocks.append, [RATE_HZ])
        expected = MusicnnRecipe().describe(np.concatenate(blocks), 3.0)
        np.testing.assert_allclose(table.features[table.track == number], expected, rtol=1e-6)
        pooled = reslice(table, 6.0)
        np.testing.assert_allclose(
            pooled.features[pooled.track == number],
            MusicnnRecipe().describe(np.concatenate(blocks), 6.0),
            rtol=1e-5,
            atol=1e-6,
        )


def test_several_recipes_are_one_pass_and_equal_those_of_separate_runs(
    wheel: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_sound = soundfile.SoundFile

    def counted(*arguments: Any, **options: Any) -> soundfile.SoundFile:
        opened.append("")
        return open_sound(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(soundfile, "SoundFile", counted)
        assert run(music, "--recipe", "kaggle,rich,musicnn-msd", "--slice", "3,6", "--out", "all") == 0
    assert len(opened) == 2
    for recipe, ending in (("kaggle", ""), ("rich", ".rich"), ("musicnn-msd", ".musicnn-msd")):
        run(music, "--recipe", recipe, "--slice", "3,6", "--out", "one")
        for seconds in (3, 6):
            alone = Path("one") / f"features_{seconds}_sec{'' if recipe == 'rich' else ending}.csv"
            together = Path("all") / f"features_{seconds}_sec{ending}.csv"
            assert together.read_bytes() == alone.read_bytes()
            alone.unlink()
        next(Path("one").glob("tracks*.csv")).unlink()
    assert {path.name for path in Path("all").glob("*.csv")} >= {"tracks.csv", "features_6_sec.csv"}


def test_learned_tables_are_written_beside_those_of_the_57(wheel: Path, music: Path) -> None:
    assert run(music, "--slice", "3,6", "--out", "corpus") == 0
    assert run(music, "--slice", "3,6", "--recipe", "musicnn-mtt", "--out", "corpus") == 0
    names = {path.name for path in Path("corpus").glob("*.csv")}
    learned = {"features_3_sec.musicnn-mtt.csv", "features_6_sec.musicnn-mtt.csv", "tracks.musicnn-mtt.csv"}
    assert names == {"features_3_sec.csv", "features_6_sec.csv", "tracks.csv"} | learned


def test_an_interrupted_run_of_several_recipes_resumes(
    wheel: Path, music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--recipe", "kaggle,musicnn-msd", "--out")
    run(music, *arguments, "whole")
    describe = MusicnnRecipe.describe_slices
    calls = 0

    def interrupted(recipe: MusicnnRecipe, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise KeyboardInterrupt
        return describe(recipe, samples)

    with monkeypatch.context() as patch:
        patch.setattr(MusicnnRecipe, "describe_slices", interrupted)
        assert run(music, *arguments, "again") == 130
    assert run(music, "--recipe", "kaggle", "--slice", "3,6", "--out", "again") == 2
    error = capsys.readouterr().err
    assert "with --slice 3 --recipe kaggle,musicnn-msd --padding reflect by" in error
    assert run(music, *arguments, "again") == 0
    assert "resuming: 1 of 2" in capsys.readouterr().out
    for path in Path("whole").glob("features*.csv"):
        assert (Path("again") / path.name).read_bytes() == path.read_bytes()


def test_a_recording_shorter_than_a_window_is_skipped(
    wheel: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(music / "pop/short.wav", noise(2.0), RATE_HZ)
    assert run(music, "--recipe", "musicnn-msd", "--out", "f.csv") == 3
    assert "short.wav: lasts 2.00 s, too short for a slice of 3 s" in capsys.readouterr().out


def test_a_recording_without_high_frequencies_is_noted_by_the_rate_of_the_recipe(
    wheel: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rate in (8_000, 16_000):
        soundfile.write(music / f"pop/{rate}.wav", noise(4.0, rate=rate), rate)
    run(music, "--recipe", "musicnn-msd", "--out", "f.csv")
    noted = [line for line in capsys.readouterr().out.splitlines() if line.startswith("noted")]
    assert [line.rpartition("/")[2] for line in noted] == ["8000.wav: 8000 Hz: nothing above 4000 Hz to describe"]


def test_values_that_are_not_finite_skip_the_recording(
    wheel: Path, music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MusicnnRecipe, "describe_slices", lambda _, samples: np.full((len(samples), 200), np.nan))
    assert run(music, "--recipe", "musicnn-mtt", "--out", "f.csv") == 2
    assert capsys.readouterr().out.count("its descriptors are not finite") == 2
    assert not Path("f.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--recipe", "musicnn-mtt", "--slice", "1"],
            "--slice=1: too short for the recipe musicnn-mtt; a slice lasts 3 ",
        ),
        (["--recipe", "kaggle,musicnn-msd", "--slice", "3"], "f.csv: one file for 2 recipes; give a folder"),
        (["--recipe", "kaggle,vggish"], "invalid choice: 'vggish' (choose from kaggle, rich, musicnn-mtt"),
        (["--recipe", ""], "invalid choice: ''"),
        (
            ["--weights", "w.whl"],
            "--weights=w.whl: the recipe kaggle has no weights; leave it out, or choose another --",
        ),
        (["--get", "vggish"], "argument --get: invalid choice: 'vggish'"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_one_sentence(
    arguments: list[str], sentence: str, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(music, "--out", "f.csv", *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not Path("f.csv").exists()


def test_the_57_are_extracted_without_torch() -> None:
    code = "import sys, genregrid.features.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_reads_the_csv_and_scores_a_recording_as_its_rows(
    wheel: Path, tmp_path: Path, composed: Callable[..., DictConfig]
) -> None:
    for genre, sound in (("high", 0.9), ("low", 0.1)):
        for number in range(4):
            random = np.random.default_rng(number)
            seconds = np.arange(7 * 22_050) / 22_050
            tone = np.sin(2 * np.pi * 4000 * sound * random.uniform(0.9, 1.1) * seconds)
            path = tmp_path / f"music/{genre}/song {number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.4 * tone + 0.05 * random.standard_normal(len(tone)), 22_050)
    assert run(tmp_path / "music", "--recipe", "musicnn-mtt", "--out", "mine.csv") == 0
    base = ["model=kernel_ridge", "logger=none", "trainer.accelerator=cpu", "split.folds=2", "slice=3"]
    train(composed(*base, "dataset=csv", f"dataset.path={tmp_path / 'mine.csv'}"), tmp_path / "run", "kernel_ridge")
    score_recordings(tmp_path / "run", tmp_path / "music", tmp_path / "scored")
    scored = pd.read_csv(tmp_path / "scored/recordings.csv").set_index("file")
    for row in pd.read_csv(tmp_path / "run/predictions.csv").itertuples():
        genre, song = row.track.split(".")
        mine = scored.loc[str(tmp_path / "music" / genre / f"{song}.wav")]
        assert mine["genre"] == row.predicted
        assert mine["p_high"] == pytest.approx(row.p_high, abs=1e-4)
    assert (scored["notes"].fillna("").str.contains("trained on this recording")).sum() > 0


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["slice=4"], "the tables have slices of 3 seconds and can make 3, 6, 9 seconds"),
        (["slice=3", "dataset.recipe=musicnn-msd"], "extracted by the recipe 'musicnn-mtt', not by 'musicnn-msd'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    wheel: Path,
    music: Path,
    overrides: list[str],
    problem: str,
    composed: Callable[..., DictConfig],
    tmp_path: Path,
) -> None:
    assert run(music, "--recipe", "musicnn-mtt", "--out", tmp_path / "f.csv") == 0
    config = composed("model=lda", "logger=none", "dataset=csv", f"dataset.path={tmp_path / 'f.csv'}", *overrides)
    with pytest.raises(UserError, match=problem):
        train(config, tmp_path / "run", "lda")


# the weights --------------------------------------------------------------------------------------------------------


def missing(wheel: Path) -> None:
    wheel.unlink()


def truncated(wheel: Path) -> None:
    wheel.write_bytes(SMALL[:-1])


def longer(wheel: Path) -> None:
    wheel.write_bytes(SMALL + b"\0")


def another(wheel: Path) -> None:
    wheel.write_bytes(bytes(len(SMALL)))


def folder(wheel: Path) -> None:
    wheel.unlink()
    wheel.mkdir()


def pipe(wheel: Path) -> None:
    wheel.unlink()
    os.mkfifo(wheel)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (missing, "does not exist"),
        (truncated, f"has {len(SMALL) - 1} bytes, and the wheel of musicnn {len(SMALL)}"),
        (longer, f"has more than {len(SMALL)} bytes"),
        (another, "not the wheel of musicnn 0.1.0"),
        (folder, "a folder"),
        (pipe, "a pipe"),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
@pytest.mark.parametrize("given", [True, False])
def test_weights_that_are_not_the_wheel_are_refused(
    wheel: Path,
    music: Path,
    damage: Callable[[Path], None],
    problem: str,
    given: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(wheel)
    more = ["--weights", wheel] if given else []
    assert run(music, "--recipe", "musicnn-mtt", "--out", "f.csv", *more) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{wheel}: it ")
    assert problem in error
    assert "; get it by `python -m genregrid.features --get musicnn`, or set GENREGRID_WEIGHTS to " in error
    assert list(Path().glob("f.*")) == []


def test_weights_are_taken_from_a_given_file(wheel: Path, music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, "nowhere")
    assert run(music, "--recipe", "musicnn-mtt", "--out", "f.csv", "--weights", wheel) == 0


def test_weights_that_vanish_during_a_run_end_it_and_it_resumes(
    wheel: Path, music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on another machine of a cluster; otherwise every recording would be skipped."""
    wheel.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(MusicnnRecipe, "check", lambda _: None)
        assert run(music, "--recipe", "musicnn-mtt", "--out", "f.csv") == 2
    assert capsys.readouterr().err.startswith(f"{wheel}: it does not exist; get it by ")
    wheel.write_bytes(SMALL)
    assert run(music, "--recipe", "musicnn-mtt", "--out", "f.csv") == 0


def test_a_wheel_without_the_tensors_is_refused(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, user_error: Refusal
) -> None:
    content = b"no zip"
    wheel.write_bytes(content)
    monkeypatch.setattr(weights, "WHEEL_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(weights, "WHEEL_BYTES", len(content))
    with user_error(wheel, problem="no weights that can be read"):
        MusicnnRecipe().describe(noise(3.0), 3.0)


def pip_that(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `python -m pip` run this code, with the folder of the download as `target`."""
    script = folder / "python"
    parse = "import sys; target = sys.argv[sys.argv.index('-d') + 1]"
    script.write_text(f"#!{sys.executable}\n{parse}\n{code}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(script))


def test_the_wheel_is_fetched_once(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "remote").write_bytes(SMALL)
    code = f"import shutil; shutil.copy('{tmp_path / 'remote'}', target + '/{weights.WHEEL_NAME}')"
    pip_that(code, tmp_path, monkeypatch)
    wheel.write_bytes(b"damaged")
    assert extract(["--get", "musicnn"]) == 0
    assert wheel.read_bytes() == SMALL
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]
    monkeypatch.setattr(sys, "executable", "/no/python")
    assert extract(["--get", "musicnn"]) == 0
    next_one = "next: `python -m genregrid hear song.mp3`"
    assert capsys.readouterr().out == f"{wheel}: weights of musicnn\n{next_one}\n" * 2


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (
            "sys.exit('WARNING: Retrying (Retry(total=0)): refused\\nERROR: no distribution')",
            "no answer from the package",
        ),
        ("sys.exit('ERROR: THESE PACKAGES DO NOT MATCH THE HASHES')", "pip could not fetch it (THESE PACKAGES DO"),
        ("sys.exit('No module named pip')", "pip could not fetch it (No module named pip)"),
        ("sys.exit(1)", "no reason given"),
        (f"open(target + '/{weights.WHEEL_NAME}', 'w').write('other')", "has 5 bytes, and the wheel"),
        ("pass", "does not exist"),
    ],
)
def test_a_download_that_fails_leaves_nothing(
    wheel: Path,
    tmp_path: Path,
    code: str,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wheel.unlink()
    pip_that(code, tmp_path, monkeypatch)
    assert extract(["--get", "musicnn"]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert list(wheel.parent.iterdir()) == []


def test_a_folder_of_weights_that_cannot_be_made_is_refused(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(wheel / "below a file"))
    assert extract(["--get", "musicnn"]) == 2
    assert "cannot be written (Not a directory); set GENREGRID_WEIGHTS to a folder" in capsys.readouterr().err


def test_every_option_makes_a_recipe_of_its_name() -> None:
    made = [make(Choice()) for name, make in OPTIONS.items() if name != "hf"]
    assert [recipe.option for recipe in made] == [name for name in OPTIONS if name != "hf"]
    assert made[0] == HandmadeRecipe()


def test_tags_are_those_that_the_authors_published(musicnn_wheel: Path, real_file: Callable[[str], Path]) -> None:
    """Theirs are of windows that start each second, by another reader and resampler; means over a track agree."""
    published = np.load(real_file("gtzan/musicnn_taggrams/training.npz"))
    for track in ("blues.00042", "classical.00058"):
        genre = track.partition(".")[0]
        theirs = published["X"][published["IDS"] == f"{genre}/{track}.au"].mean(axis=0)
        blocks: list[NDArray[np.float32]] = []
        read_audio(real_file(f"gtzan/audio/{genre}/{track}.wav"), blocks.append, [RATE_HZ])
        (mine,) = MusicnnRecipe("msd", True, musicnn_wheel).describe(np.concatenate(blocks), 30.0)
        assert np.corrcoef(mine, theirs)[0, 1] > 0.99
