"""Put a final model into the package, where ``genregrid hear`` finds it: ``python tools/ship_model.py RUN NAME``.

The map of training tracks is left out: names such as ``jazz.00012`` mean nothing to users, and no row of a corpus, or
what is near to one, is shipped. What stays are weights, the card, and names and fingerprints of the training tracks,
by which a recording that was trained on is recognised.

The three models were made by these commands, on GTZAN's tables; AUDIO holds the 192 recordings of docs/results.md:

    python train.py model=lda model.refit=true dataset=gtzan10 slice=10 split=artist split.folds=9 final=true
    python -m genregrid.features AUDIO --recipe musicnn-msd,musicnn-mtt --slice 3 --out data/gtzan
    python train.py model=lda model.refit=true 'model.summary=[mean]' dataset=gtzan features=musicnn-msd slice=3 \
        split=artist final=true
    python train.py model=logistic model.refit=true 'model.summary=[mean]' ++model.class_weight=balanced \
        dataset=gtzan features=musicnn-mtt slice=3 split=artist final=true
"""

import re
import sys
from pathlib import Path

import torch

from genregrid.checkpoint.archive import read_checkpoint
from genregrid.listening.shipped import FOLDER
from genregrid.models.base import CHECKPOINT_KEY
from genregrid.record.folder import BEST_CHECKPOINT
from genregrid.record.untested import CARD_FILE


def ship(run: Path, name: str, folder: Path = FOLDER) -> None:
    """Copy the checkpoint of a final model without its map, and its card."""
    content = read_checkpoint(run / BEST_CHECKPOINT, key=run)
    content[CHECKPOINT_KEY].pop("map", None)
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / f"{name}.ckpt")
    card = (run / CARD_FILE).read_text(encoding="utf-8")
    (folder / f"{name}.md").write_text(re.sub(r"^# .*", f"# {name}", card), encoding="utf-8")


if __name__ == "__main__":
    ship(Path(sys.argv[1]), sys.argv[2])
