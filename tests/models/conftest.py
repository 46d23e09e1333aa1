"""Training and testing of a model, as in a run."""

from collections.abc import Callable

import lightning.pytorch as pl
import pytest

from genregrid.config import SplitConfig
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.split import split_table
from genregrid.data.table import FeatureTable
from genregrid.models.base import GenreClassifier


@pytest.fixture
def fit(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., pl.Trainer]:
    """`fit(model, table, max_epochs=3)` trains and tests on a split of the table, and returns the trainer."""

    def fitted(model: GenreClassifier, table: FeatureTable, max_epochs: int = 3) -> pl.Trainer:
        datamodule = GenreDataModule(table, split_table(table, SplitConfig(protocol="track", folds=3)), batch_size=8)
        model.transform.fit(datamodule.table.features, datamodule.training_rows)
        folder = tmp_path_factory.mktemp("fit")
        checkpoint = pl.callbacks.ModelCheckpoint(
            folder / "best", "checkpoint", monitor="val/loss", enable_version_counter=False
        )
        trainer = pl.Trainer(
            max_epochs=max_epochs,
            accelerator="cpu",
            logger=False,
            callbacks=[checkpoint],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        trainer.fit(model, datamodule)
        trainer.test(model, datamodule, verbose=False)
        return trainer

    return fitted
