"""Claims about the recipe `hf`, with small random models that are written here; skipped without transformers."""

import json
import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray
from omegaconf import DictConfig
from tests.features.tiny_model import write_model

from genregrid.config import DatasetConfig
from genregrid.data.corpus import with_features
from genregrid.data.note import read_note
from genregrid.errors import UserError
from genregrid.features import hf
from genregrid.features.__main__ import main as extract
from genregrid.features.hf import HfRecipe
from genregrid.features.known_recipe import columns_of, may_overlap, recipe_named
from genregrid.features.recipe import SliceDescriber
from genregrid.features.weights import FOLDER_VARIABLE
from genregrid.listening.score import score_recordings
from genregrid.training.run import train

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers", reason="needs the extra embedding")

RATES_HZ = {
    "wav2vec2": 16_000,
    "hubert": 16_000,
    "ast": 16_000,
    "clap": 48_000,
    "clap-fused": 48_000,
    "whisper": 16_000,
}
Refusal = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name in (*RATES_HZ, "bert"):
        write_model(name, root / name)
    return root


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Path:
    """A folder of wav2vec2, which a test may damage."""
    return Path(shutil.copytree(models / "wav2vec2", tmp_path / "model"))


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    yield
    hf._network.cache_clear()
    hf._checked_network.cache_clear()


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Two recordings of two genres, at 22 050 and 44 100 Hz."""
    for genre, seconds, rate in (("pop", 7.0, 22_050), ("rock", 9.5, 44_100)):
        (tmp_path / "music" / genre).mkdir(parents=True)
        soundfile.write(tmp_path / f"music/{genre}/one.wav", noise(seconds, rate), rate)
    return tmp_path / "music"


def noise(seconds: float, rate: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def run(source: Path, *arguments: str | Path) -> int:
    return extract([str(source), "--workers", "1", "--recipe", "hf", *map(str, arguments)])


# the definition -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RATES_HZ)
def test_slices_have_the_same_values_whenever_they_are_described(models: Path, name: str) -> None:
    recipe = HfRecipe.in_folder(models / name)
    assert recipe.rate_hz == RATES_HZ[name]
    samples = noise(8.0, recipe.rate_hz)
    rows = recipe.describe(samples, 3.0)
    assert rows.shape == (2, recipe.num_units)
    assert np.isfinite(rows).all()
    assert (rows[0] != rows[1]).any()
    np.random.seed(1)  # noqa: NPY002, which extractors draw from
    np.testing.assert_array_equal(recipe.describe(samples, 3.0), rows)
    np.testing.assert_array_equal(recipe.describe(samples[3 * recipe.rate_hz : 6 * recipe.rate_hz], 3.0), rows[1:])
    describer = SliceDescriber(recipe, 3.0)
    for start in range(0, len(samples), 7001):
        describer.add(samples[start : start + 7001])
    np.testing.assert_array_equal(np.concatenate(describer.finish())[:, 1:], rows)


def test_values_are_means_of_the_hidden_states_that_transformers_gives(models: Path) -> None:
    import torch

    samples = noise(3.0, 16_000)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(models / "wav2vec2")
    model = transformers.AutoModel.from_pretrained(models / "wav2vec2").eval()
    with torch.inference_mode():
        inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt")
        states = model(**inputs, output_hidden_states=True).hidden_states
    for layer in (0, 1, 2, -1, -3):
        recipe = HfRecipe.in_folder(models / "wav2vec2", layer)
        assert recipe.layer == layer % 3
        expected = states[layer][0].mean(dim=0).numpy()
        np.testing.assert_allclose(recipe.describe(samples, 3.0)[0], expected, atol=1e-5)


@pytest.mark.parametrize(("name", "seconds"), [("wav2vec2", 10.0), ("ast", 1.28), ("clap", 2.0), ("whisper", 2.0)])
def test_a_longer_slice_is_the_mean_of_windows_that_the_model_takes_whole(
    models: Path, name: str, seconds: float
) -> None:
    recipe = HfRecipe.in_folder(models / name)
    samples = noise(3 * seconds, recipe.rate_hz)
    long, short = recipe.describe(samples, 3 * seconds), recipe.describe(samples, seconds)
    np.testing.assert_allclose(long[0], short.mean(axis=0), rtol=1e-5)


def test_a_name_has_the_model_the_layer_and_the_hash_of_its_files(models: Path, copied: Path, tmp_path: Path) -> None:
    recipe = HfRecipe.in_folder(models / "wav2vec2", 1)
    assert recipe.name == f"hf-wav2vec2-1x16-{recipe.digest}"
    assert HfRecipe.in_folder(copied, 1).name == recipe.name
    assert columns_of(recipe.name) == recipe.feature_names == tuple(f"hf{number}_mean" for number in range(1, 17))
    found = recipe_named(recipe.name)
    assert found is not None
    assert found.name == recipe.name
    assert may_overlap(recipe.name)  # nothing is known of its training
    assert HfRecipe.in_folder(write_model("wav2vec2", tmp_path / "other", seed=1), 1).digest != recipe.digest
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.1}))
    assert HfRecipe.in_folder(copied, 1).digest != recipe.digest


def test_weights_in_several_files_give_the_same_values(models: Path, copied: Path) -> None:
    whole = HfRecipe.in_folder(models / "wav2vec2")
    model = transformers.AutoModel.from_pretrained(copied)
    (copied / "model.safetensors").unlink()
    model.save_pretrained(copied, max_shard_size="10KB")
    assert len(list(copied.glob("*.safetensors"))) > 1
    samples = noise(3.0, 16_000)
    np.testing.assert_array_equal(HfRecipe.in_folder(copied).describe(samples, 3.0), whole.describe(samples, 3.0))


# the commands -------------------------------------------------------------------------------------------------------


def test_a_table_has_a_note_and_a_model_trained_on_it_scores_recordings_as_their_rows(
    models: Path,
    tmp_path: Path,
    composed: Callable[..., DictConfig],
    monkeypatch: pytest.MonkeyPatch,
    user_error: Refusal,
) -> None:
    for genre in ("high", "low"):
        for number in range(4):
            path = tmp_path / f"music/{genre}/song {number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            seconds = np.arange(7 * 16_000) / 16_000
            tone = np.sin(2 * np.pi * (3600 if genre == "high" else 400) * (1 + number / 50) * seconds)
            soundfile.write(path, 0.4 * tone + 0.05 * np.random.default_rng(number).standard_normal(len(tone)), 16_000)
    assert run(tmp_path / "music", "--weights", models / "hubert", "--layer", "1", "--out", tmp_path / "f.csv") == 0
    note = read_note(tmp_path / "f.csv")
    assert note is not None
    assert note.recipe == HfRecipe.in_folder(models / "hubert", 1).name
    base = ["model=kernel_ridge", "logger=none", "trainer.accelerator=cpu", "split.folds=2", "slice=3"]
    config = composed(*base, "dataset=csv", f"dataset.path={tmp_path / 'f.csv'}")
    train(config, tmp_path / "run", "kernel_ridge")
    assert json.loads((tmp_path / "run/run.json").read_text())["may_overlap"] is True
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with user_error(tmp_path, problem="has the model of the recipe", hint=FOLDER_VARIABLE):
        score_recordings(tmp_path / "run", tmp_path / "music", tmp_path / "scored")
    for folder in (models / "hubert", models):
        monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
        score_recordings(tmp_path / "run", tmp_path / "music", tmp_path / "scored")
        scored = pd.read_csv(tmp_path / "scored/recordings.csv").set_index("file")
        for row in pd.read_csv(tmp_path / "run/predictions.csv").itertuples():
            genre, song = str(row.track).split(".")
            mine = scored.loc[str(tmp_path / "music" / genre / f"{song}.wav")]
            assert mine["p_high"] == pytest.approx(row.p_high, abs=1e-4)


def test_tables_of_other_weights_are_refused(
    models: Path, music: Path, tmp_path: Path, composed: Callable[..., DictConfig], user_error: Refusal
) -> None:
    run(music, "--weights", models / "hubert", "--out", tmp_path)
    (table,) = tmp_path.glob("features_3_sec.hf-hubert-2x16-*[0-9a-f].csv")
    recipe = "dataset.recipe=hf-hubert-2x16-00000000"
    config = composed("model=lda", "logger=none", "dataset=csv", "slice=3", f"dataset.path={table}", recipe)
    with user_error(table, problem="extracted by the recipe 'hf-hubert-2x16-"):
        train(config, tmp_path / "run", "lda")
    dataset = DatasetConfig(name="mine", root=str(tmp_path), tables=["features_3_sec.csv"])
    for features in ("hf", "hf-hubert", "hf-hubert-2x16"):
        assert with_features(dataset, features).tables == [table.name]
    with user_error("features", problem="has no table of this recipe"):
        with_features(dataset, "hf-hubert-2x1")


def test_an_interrupted_run_resumes_with_the_same_weights_only(
    models: Path, music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    describe = HfRecipe.describe_slices
    num_slices = 0

    def interrupted(recipe: HfRecipe, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        nonlocal num_slices
        num_slices += len(samples)  # a GPU describes several at once
        if num_slices > 2:  # those of the first recording
            raise KeyboardInterrupt
        return describe(recipe, samples)

    with monkeypatch.context() as patch:
        patch.setattr(HfRecipe, "describe_slices", interrupted)
        assert run(music, "--weights", models / "hubert", "--out", "f.csv") == 130
    assert run(music, "--weights", models / "wav2vec2", "--out", "f.csv") == 2
    assert "f.partial" in capsys.readouterr().err
    assert run(music, "--weights", models / "hubert", "--out", "f.csv") == 0
    assert "resuming: 1 of 2" in capsys.readouterr().out


def test_beside_hf_musicnn_takes_its_weights_from_their_own_folder(
    models: Path, music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "nothing")
    arguments = [str(music), "--recipe", "hf,musicnn-mtt", "--weights", str(models / "hubert"), "--out", "all"]
    assert extract(arguments) == 2
    assert "nothing/musicnn-0.1.0-py3-none-any.whl: it does not exist" in capsys.readouterr().err
    assert not Path("all").exists()


def test_the_script_of_the_page_about_features_makes_the_rows_of_the_recipe(
    models: Path,
    music: Path,
    project_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    composed: Callable[..., DictConfig],
) -> None:
    page = (project_root / "docs/features.md").read_text()
    script, note = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "embed.py").write_text(script)
    (tmp_path / "data/gtzan").mkdir(parents=True)
    for number in range(5):
        for genre in ("pop", "rock"):
            soundfile.write(music / f"{genre}/{number}.wav", noise(3.1, 16_000, seed=number), 16_000)
    out = tmp_path / "data/gtzan/features_3_sec.mert-95m.csv"
    monkeypatch.setattr(sys, "argv", ["embed.py", *map(str, (models / "hubert", music, out))])
    runpy.run_path(str(tmp_path / "embed.py"))
    assert run(music, "--weights", models / "hubert", "--out", tmp_path / "f.csv") == 0
    theirs, ours = (pd.read_csv(path).sort_values("filename", ignore_index=True) for path in (out, tmp_path / "f.csv"))
    assert theirs["filename"].tolist() == ours["filename"].tolist()
    np.testing.assert_allclose(theirs.filter(regex="_mean"), ours.filter(regex="_mean"), atol=1e-3)
    monkeypatch.chdir(tmp_path)
    exec(compile(note, "note", "exec"), {})
    options = ("dataset.features=all", "features=mert-95m", f"dataset.root={out.parent}", "slice=3", "split.folds=3")
    train(
        composed("model=lda", "logger=none", "dataset=gtzan", "dataset.genres=null", *options), tmp_path / "run", "lda"
    )
    assert json.loads((tmp_path / "run/run.json").read_text())["recipe"] == "mert-95m"


# mistakes -----------------------------------------------------------------------------------------------------------


def _without_layer(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "layers.1.attention" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _with_nan(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["feature_projection.projection.bias"][0] = np.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _with_key(name: str, **more: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | more))

    return damage


def _truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "it is no folder of a model"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json: it does not exist"),
    "config no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json: it is not JSON"),
    "unknown type": (_with_key("config.json", model_type="martian"), "transformers cannot load it"),
    "no type": (_with_key("config.json", model_type="../x"), "it names no model_type"),
    "code": (lambda folder: (folder / "modeling_own.py").write_text("raise SystemExit(9)"), "(modeling_own.py)"),
    "auto_map": (_with_key("config.json", auto_map={"AutoModel": "own.Model"}), "(auto_map)"),
    "extractor's auto_map": (_with_key("preprocessor_config.json", auto_map={"A": "own.E"}), "(auto_map)"),
    "adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "it is an adapter"),
    "pickle": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "its weights are a pickle (pytorch_model.bin)",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "it has no weights (model.safetensors)"),
    "truncated": (_truncated, "transformers cannot load it"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "transformers cannot load it"),
    "missing weights": (_without_layer, "its weights lack 8 tensors, such as encoder.layers.1.attention"),
    "other sizes": (_with_key("config.json", intermediate_size=8), "transformers cannot load it"),
    "NaN": (_with_nan, "it gives values that are not finite"),
    "no extractor": (lambda folder: (folder / "preprocessor_config.json").unlink(), "so it is no model of audio"),
    "no rate": (
        _with_key("preprocessor_config.json", sampling_rate=None),
        "its feature extractor has no sampling_rate",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_be_used_is_one_sentence(
    copied: Path, music: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, sentence = DAMAGES[damage]
    change(copied)
    assert run(music, "--weights", copied, "--out", "out/f.csv") == 2
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert str(copied) in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out
    assert not Path("out").exists()


def test_a_model_of_text_is_refused(models: Path, user_error: Refusal) -> None:
    with user_error(models / "bert", problem="so it is no model of audio"):
        HfRecipe.in_folder(models / "bert")
    with user_error("--layer", problem="no such layer", hint="choose 0 to 2"):
        HfRecipe.in_folder(models / "hubert", 3)
    with user_error("--layer", problem="no such layer"):
        HfRecipe.in_folder(models / "hubert", -4)


def test_a_slice_shorter_than_the_models_smallest_input_is_refused(
    copied: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _with_key("preprocessor_config.json", sampling_rate=1000)(copied)
    assert run(music, "--weights", copied, "--slice", "0.4", "--out", "f.csv") == 2
    # (8 - 1) * 5 + 400 samples, of a clip that is 2.5 % shorter than a slice
    assert "--slice=0.4: too short for the recipe hf; a slice lasts 0.446154 to 600" in capsys.readouterr().err
    assert run(music, "--weights", copied, "--slice", "0.45", "--out", "f.csv") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recipe", "hf"], "--weights: the recipe hf needs it; give the folder of a model"),
        (["--recipe", "rich", "--layer", "1"], "--layer=1: only the recipe hf has layers"),
        (["--recipe", "hf", "--layer", "last"], "argument --layer: a whole number, such as 6 or -1"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_one_sentence(
    arguments: list[str], sentence: str, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract([str(music), "--out", "f.csv", *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_model_that_changes_between_two_processes_is_refused(copied: Path) -> None:
    recipe = HfRecipe.in_folder(copied)
    hf._network.cache_clear()
    _with_key("config.json", layer_norm_eps=0.1)(copied)
    with pytest.raises(UserError, match="the model was changed"):
        recipe.describe(noise(3.0, 16_000), 3.0)


def test_transformers_that_is_not_installed_is_one_sentence(
    models: Path, monkeypatch: pytest.MonkeyPatch, user_error: Refusal
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with user_error("transformers", problem="it is not installed", hint='pip install -e ".[embedding]"'):
        HfRecipe.in_folder(models / "hubert")
