"""Train one model on one corpus, slice length and protocol: ``python train.py model=lstm slice=3``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from genregrid.config import NO_TEST
from genregrid.errors import UserError
from genregrid.files import home_path
from genregrid.program import next_line
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.devices import is_first_process

ABOUT = "Train one model on one corpus, slice length and protocol, and test it on tracks that it was not trained on."
USAGES: dict[str, str] = {}
OPTIONAL_GROUPS = {"search": "sweep=optuna"}


def main(cfg: DictConfig, folder: Path, corpora: CorpusReader, fitted: Mapping[str, Any]) -> float | None:
    """Train, test and print one table. A trial of a search tests nothing and returns its validation score."""
    # torch and Lightning take seconds to import; --help does not need them
    from genregrid.search.trial import score_trial
    from genregrid.training.run import finished_before, train

    model = HydraConfig.get().runtime.choices["model"]
    if cfg.search is not None:
        return score_trial(cfg, folder, model, corpora)
    if cfg.music is not None:
        from genregrid.final.own import train_on_music

        given = [one for one in HydraConfig.get().overrides.task if not one.startswith("music=")]
        music = home_path(cfg.music)
        print(train_on_music(music, folder, given, lambda overrides: compose("train", list(overrides)), corpora))
        return None
    if cfg.final:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            hint = "choose the settings by a grid first, then train one final model without -m"
            raise UserError("a grid of final models is not possible", key="final", value=True, hint=hint)
        from genregrid.final.train import train_final

        trained = train_final(cfg, folder, model, corpora)
        print(f"{trained} is finished already" if isinstance(trained, Path) else trained.summary())
        print(next_line("hear", "song.mp3", "--model", str(folder)))
        return None
    if cfg.resume and (finished := finished_before(cfg, folder, model, corpora)) is not None:
        print(f"{finished} is finished already")
    else:
        print(train(cfg, folder, model, corpora, fitted).summary())
        if HydraConfig.get().mode == RunMode.RUN and is_first_process():
            is_tested = cfg.split.protocol != NO_TEST
            after = ("evaluate", f"runs={folder}") if is_tested else ("hear", "song.mp3", "--model", str(folder))
            print(next_line(*after))
    return None
