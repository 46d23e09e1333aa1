"""The base of all neural networks: loss, optimiser, schedule and regularisation."""

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from lightning.fabric.loggers.logger import Logger
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genregrid.models.argument import Allowed, NotNegative, Part, Positive, Share, Switch, is_number
from genregrid.models.augmentation import drop_slices, mix_windows
from genregrid.models.base import GenreClassifier

#: Key of a checkpoint for the state that a resumed training needs.
PROGRESS_KEY = "genregrid_progress"
#: Beta draws of an alpha below 0.01 are all 0 or 1, or by rounding all 0.5.
Mixup = Annotated[
    float, Allowed("must be 0, or 0.01 or more", lambda value: is_number(value, 0.01) or is_number(value, 0, 0))
]


class Network(GenreClassifier):
    """Base of all neural networks: a subclass builds layers in `__init__` and uses them in `forward`.

    Args:
        learning_rate: of Adam, above 0; with `one_cycle` the largest.
        weight_decay: 0 or more: an L2 penalty, or with `decoupled_weight_decay` the share that a weight loses in a step
            of learning rate 1.
        decoupled_weight_decay: whether decay acts on the weights (AdamW) rather than on their gradients.
        one_cycle: whether the learning rate rises for three tenths of the training and then falls to 0, while Adam's
            first momentum falls from 0.95 to 0.85 and rises again.
        label_smoothing: share of the target, in [0, 1), that is spread evenly over all genres.
        mixup: 0 for none, else alpha of the mixing weights (`mix_windows`); 0.01 or more.
        slice_dropout: probability in [0, 1) of dropping a slice of a training window (`drop_slices`).
        ema_decay: ``None``, or in (0, 1): validation, test and checkpoint use an exponential moving average of the
            weights, which keeps this share of itself in a step.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019; Smith and Topin,
    "Super-convergence", 2019, for `one_cycle`; Szegedy et al., "Rethinking the Inception architecture", CVPR 2016,
    section 7, for `label_smoothing`.
    """

    def __init__(
        self,
        *,
        learning_rate: Positive = 0.001,
        weight_decay: NotNegative = 0.0,
        decoupled_weight_decay: Switch = False,
        one_cycle: Switch = False,
        label_smoothing: Share = 0.0,
        mixup: Mixup = 0.0,
        slice_dropout: Share = 0.0,
        ema_decay: Part | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.decoupled_weight_decay = decoupled_weight_decay
        self.one_cycle = one_cycle
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.slice_dropout = slice_dropout
        self.ema_decay = ema_decay
        self._progress: dict[str, Any] | None = None
        self._training: list[tuple[Tensor, Tensor]] = []

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute logits, (batch, genre), from transformed features (batch, slice, feature) and length (batch,)."""
        raise NotImplementedError  # every subclass has its own

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute logits of a batch of raw features, (batch, genre) float32."""
        logits: Tensor = self(self.transform(batch["features"]), batch["length"])
        return logits

    def build_optimizer(self) -> Adam:
        """Return Adam, as in the paper; fused, which saves a small model a quarter of a step."""
        return Adam(
            self.parameters(),
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            decoupled_weight_decay=self.decoupled_weight_decay,
            fused=True,
        )

    def build_schedule(self, optimizer: Adam, num_steps: int) -> OneCycleLR:
        """Return the schedule of the learning rate over a training of `num_steps` steps, if `one_cycle` is set."""
        return OneCycleLR(optimizer, self.learning_rate, total_steps=num_steps)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer, and the schedule if `one_cycle` is set."""
        optimizer = self.build_optimizer()
        if not self.one_cycle:
            return optimizer
        schedule = self.build_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_callbacks(self) -> list[Callback]:
        """Return Lightning's averaging of weights, if `ema_decay` is set."""
        if self.ema_decay is None:
            return []
        return [WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(self.ema_decay), use_buffers=False)]  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the curves and the random states, so that a resumed training gives the numbers of one without a stop."""
        super().on_save_checkpoint(checkpoint)
        rng_states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng_states["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint[PROGRESS_KEY] = {"chance": rng_states, "curves": self.curves}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the provenance; curves and random states wait for `on_train_start`."""
        super().on_load_checkpoint(checkpoint)
        self._progress = checkpoint.get(PROGRESS_KEY)  # older checkpoints lack it: they can be tested, not resumed

    def on_train_start(self) -> None:
        """Resume from a loaded checkpoint, and log its epochs again."""
        if self._progress is None:
            return
        self.curves = self._progress["curves"]
        torch.set_rng_state(self._progress["chance"]["cpu"].cpu())
        if self.device.type == "cuda" and "cuda" in self._progress["chance"]:
            torch.cuda.set_rng_state(self._progress["chance"]["cuda"].cpu(), self.device)
        self._progress = None
        if self.logger is not None:
            self.log_curves(self.logger, int(self.trainer.num_training_batches))

    def log_curves(self, logger: Logger, steps_per_epoch: int) -> None:
        """Log the epochs of `curves`, which another trainer has trained."""
        for row in self.curves:
            epoch = int(row["epoch"])
            logger.log_metrics(row | {"epoch": epoch - 1}, epoch * steps_per_epoch - 1)

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Compute the cross-entropy of a batch; not logged here, as `log` takes as long as a small model's step."""
        features, length, genre = self.transform(batch["features"]), batch["length"], batch["genre"]
        target = genre
        if self.slice_dropout:
            features, length = drop_slices(features, length, self.slice_dropout)
        if self.mixup:
            probs = F.one_hot(genre, len(self.genres)).to(features.dtype)
            features, length, target = mix_windows(features, length, probs, self.mixup)
        logits = self(features, length)
        loss = F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
        self._training.append((loss.detach(), (logits.detach().argmax(dim=1) == genre).float().mean()))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log `train/loss` and `train/accuracy` (means over batches, dropout on), and add the epoch to `curves`."""
        means = (torch.stack(values).mean() for values in zip(*self._training, strict=True))
        loss, accuracy = (self.trainer.strategy.reduce(mean, reduce_op="mean") for mean in means)
        self._training.clear()
        values = {"train/loss": loss, "train/accuracy": accuracy}
        self.log_dict(values, sync_dist=True)  # the values are equal already, but Lightning would warn
        values |= {name: value for name, value in self.trainer.callback_metrics.items() if name.startswith("val/")}
        self.curves.append({"epoch": self.current_epoch + 1} | {name: float(value) for name, value in values.items()})
