"""A trained model: what it is, and the genres that it predicts for tables and recordings."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genregrid.api.mistake import offered
from genregrid.api.outcome import Picture
from genregrid.api.table import Table
from genregrid.api.training import RunsFolder, own_state
from genregrid.config import EVERY_TRACK, DatasetConfig, SplitConfig
from genregrid.data.corpus import Corpus
from genregrid.errors import UserError
from genregrid.models.trained import load_checkpoint
from genregrid.record.facts import Provenance
from genregrid.record.place import find_checkpoint
from genregrid.record.unlabelled import Unlabelled, predict_unlabelled
from genregrid.training.build import datamodule_of, split_of
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.run import check_features, check_recipe

_TABLES = {".csv", ".parquet", ".npz", ".gz"}
