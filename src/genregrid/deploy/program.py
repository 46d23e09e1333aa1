"""A trained model as one torch module: raw descriptors in, log-probabilities out."""

from torch import Tensor, nn

from genregrid.deploy.classifier import Head
from genregrid.deploy.recurrent import ScannedLayers
from genregrid.errors import UserError
from genregrid.models.base import GenreClassifier
from genregrid.models.bilstm_attention import BiLSTMAttention
from genregrid.models.deep_features import DeepFeatureLSTM
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.vote import Vote


class Program(nn.Module):
    """Transform, model and temperature of a checkpoint, in operations that every exported file has.

    Args:
        model: loaded from a checkpoint; its recurrent layers are replaced.
        temperature: divides the logits, above 0.

    Raises:
        UserError: the model is a vote, or its estimator has no form without scikit-learn.
    """

    def __init__(self, model: GenreClassifier, temperature: float = 1.0) -> None:
        super().__init__()
        if isinstance(model, Vote):
            hint = "export its members one by one"
            raise UserError("a vote cuts tracks into windows of each member, which no file can", key="model", hint=hint)
        heads = {EstimatorClassifier: "head", DeepFeatureLSTM: "estimator"}
        name = heads.get(type(model))
        self.head = None if name is None else Head(getattr(model, name))
        if name is not None:
            delattr(model, name)
        for name, layers in list(model.named_children()):
            if isinstance(layers, nn.RNNBase):
                setattr(model, name, ScannedLayers(layers))
        self.model, self.temperature = model.eval().requires_grad_(False), temperature

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute log-probabilities, (batch, genre) float32.

        Args:
            features: raw descriptors, (batch, slice, feature) float32.
            length: slices of each window that are not padding, (batch,) int64.
        """
        return (self._logits(features, length) / self.temperature).log_softmax(dim=1)

    def _logits(self, features: Tensor, length: Tensor) -> Tensor:
        model, batch = self.model, {"features": features, "length": length}
        logits: Tensor
        if isinstance(model, BiLSTMAttention):  # its own `forward` packs sequences, which no file can
            states, _ = model.lstm(model.transform(features), length)
            logits = model.head(model.attention(states, length))
        elif self.head is None:
            logits = model.logits(batch)
        elif isinstance(model, EstimatorClassifier) and model.summary is None:
            logits = self.head(model.transform(features), length)
        else:
            logits = self.head(model.vectors(batch))  # type: ignore[operator]  # both classes have it
        return logits
