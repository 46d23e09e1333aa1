"""Facts of a run, from which tests make others."""

from genregrid.record.facts import RunFacts

FACTS = RunFacts(
    model="lstm",
    seed=1,
    settings={"model.hidden_size": 32, "window": "track"},
    started="2026-01-01T00:00:00.000+00:00",
    versions={"python": "3.11"},
    commit=None,
    dataset="twin",
    dataset_label="mine",
    synthetic=False,
    recipe="kaggle-reflect",
    slice_seconds=3.0,
    protocol="row",
    leaks=False,
    folds=5,
    fold=2,
    val_folds=None,
    val_fold=0,
    split_seed=7,
    num_tracks={"train": 6, "val": 2, "test": 2},
    data_hashes={"mine.csv": "0"},
    identity="0123456789abcdef",
)
