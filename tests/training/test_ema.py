import pytest
import torch
from torch import nn

from training.fit.ema import moving_average


def network(value):
    made = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for tensor in made.state_dict().values():
        tensor.fill_(value)
    return made


def test_it_starts_at_the_first_step_and_then_follows_ever_more_slowly():
    average, expected = moving_average(network(0), 0.9), 0.0
    for step in range(200):
        value = float(step % 7)
        average.update_parameters(network(value))
        decay = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        expected = decay * expected + (1 - decay) * value
    for name, tensor in average.module.state_dict().items():
        if tensor.is_floating_point():  # statistics of batches too
            assert tensor.mean().item() == pytest.approx(expected, rel=1e-4), name


def test_it_is_not_trained_and_goes_on_from_its_state():
    average = moving_average(network(1), 0.9)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert not average.module.training
    for value in (1, 2, 3):
        average.update_parameters(network(value))
    resumed = moving_average(network(0), 0.9)
    resumed.load_state_dict(average.state_dict())
    for one in (average, resumed):
        one.update_parameters(network(5))
    states = average.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
