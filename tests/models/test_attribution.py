"""Integrated gradients: they sum to the difference of logits, and are exact for a linear model."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from genregrid.models.attribution import TOLERANCE, has_gradients, integrated_gradients
from genregrid.models.base import GenreClassifier
from genregrid.models.mlp import MLP
from genregrid.models.network import Network

CONF = Path(__file__).resolve().parents[2] / "conf/model"
SHARED = {"genres": ["blues", "jazz", "rock"], "feature_names": ["a", "b", "c"], "slice_seconds": 3.0}


def built(name: str, **more: object) -> GenreClassifier:
    torch.manual_seed(0)
    settings = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml").model)
    model: GenreClassifier = instantiate(settings, **SHARED, **more, _convert_="all").eval()
    return model


def batch(num: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(1)
    length = torch.tensor([4, 3, 4, 1, 2, 4])[:num]
    features = torch.randn(num, 4, 3)
    return {"features": features.masked_fill((torch.arange(4) >= length[:, None])[..., None], 0.0), "length": length}


def evidence(model: Network, features: Tensor, length: Tensor, target: Tensor) -> Tensor:
    logits = model(features, length)
    return logits.gather(1, target[:, None]).squeeze(1) - logits.mean(dim=1)


@pytest.mark.parametrize("name", ["lstm", "gru", "bilstm_attention", "cnn", "transformer", "set_mlp"])
def test_attributions_sum_to_the_difference_of_logits_for_every_network(name: str) -> None:
    model, given = built(name), batch()
    assert has_gradients(model)
    target = torch.tensor([0, 1, 2, 0, 1, 2])
    model.transform.mean.fill_(0.3)
    attributions, gap = integrated_gradients(model, given, target)
    with torch.no_grad():
        at = [evidence(model, model.transform(x), given["length"], target) for x in (given["features"],)]
        at += [evidence(model, torch.zeros_like(given["features"]), given["length"], target)]
    difference = (at[0] - at[1]).double()
    assert (gap <= TOLERANCE).all()
    within = TOLERANCE * difference.abs().clamp_min(1.0) + 1e-5
    assert ((attributions.sum(dim=(1, 2)) - difference).abs() <= within).all()
    assert (attributions[torch.arange(4) >= given["length"][:, None]] == 0).all()


def test_attributions_of_a_linear_network_are_weights_times_values() -> None:
    torch.manual_seed(0)
    model = MLP(hidden_size=5, **SHARED).eval()
    features = torch.randn(2, 1, 3)
    length, target = torch.ones(2, dtype=torch.int64), torch.tensor([2, 0])
    weights = (model.layers[3].weight @ model.layers[0].weight).detach()
    weights = weights - weights.mean(dim=0)
    attributions, gap = integrated_gradients(model, {"features": features, "length": length}, target)
    torch.testing.assert_close(attributions.float(), weights[target][:, None] * features)
    assert gap.max() < 1e-6
    assert model.layers[0].weight.dtype == torch.float32


@pytest.mark.parametrize("name", ["lda", "lstm_svm"])
def test_an_estimator_and_a_network_scored_by_one_have_no_gradients(name: str) -> None:
    assert not has_gradients(built(name))
