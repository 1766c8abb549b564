"""The moving average of a network's weights, which a run saves as its result."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average (Polyak and Juditsky 1992) with a shorter memory while the run is young.

    Args:
        network: whose parameters and buffers are averaged, by `update_parameters` after each step.
        decay: share of the average that a step leaves, in the long run.

    Returns:
        The average; its `module` is a network in eval mode.
    """

    def update(means: Any, values: Any, _updates: Any) -> None:
        # The count that is handed in lies on the network's device, and to read it would be to wait for the GPU.
        updates = int(average.n_averaged)
        follow = get_ema_multi_avg_fn(min(decay, (1 + updates) / (10 + updates)))  # type: ignore[no-untyped-call]
        follow(means, values, updates)

    average = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    average.requires_grad_(False).eval()
    return average
