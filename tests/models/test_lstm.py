"""The paper's LSTM."""

import torch
from torch import nn

from genregrid.data.columns import FEATURE_NAMES
from genregrid.models.lstm import LSTM


def build() -> LSTM:
    torch.manual_seed(0)
    genres = [str(number) for number in range(10)]
    return LSTM(genres=genres, feature_names=list(FEATURE_NAMES), slice_seconds=3.0, learning_rate=0.001)


def test_layers_are_the_papers() -> None:
    shapes = {name: tuple(weight.shape) for name, weight in build().named_parameters() if "weight" in name}
    assert sorted(shapes.values()) == sorted([(256, 57), (256, 64), (256, 64), (256, 64), (64, 64), (10, 64)])


def test_logits_are_those_of_torch_layers_on_the_last_slice() -> None:
    model = build().eval()
    features = torch.randn(3, 7, 57)
    states, _ = model.lstm(features[1:2, :5])
    expected = model.head(states[:, -1])
    torch.testing.assert_close(model(features, torch.tensor([7, 5, 7]))[1:2], expected, atol=1e-6, rtol=1e-5)


def test_forget_gates_are_open_at_first_and_recurrent_weights_orthogonal() -> None:
    model = build()
    assert isinstance(model.lstm, nn.LSTM)
    assert model.lstm.bias_ih_l0[64:128].tolist() == [1.0] * 64
    assert model.lstm.bias_ih_l0[:64].abs().max() == 0.0
    weight = model.lstm.weight_hh_l0.detach()
    torch.testing.assert_close(weight.T @ weight, torch.eye(64), atol=1e-5, rtol=0)
