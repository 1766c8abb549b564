"""Whether the numbers of a run are still finite, asked before anything is written."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch

from training.errors import DivergedError
from training.fit.module import RestorationModule

LAST: Final = "last.safetensors"
BEST: Final = "best.safetensors"

# As often as scalars are logged: to ask makes the processor wait for a GPU.
_ASK_EVERY: Final = 20
# So many steps in a row without a finite gradient do not get better; fp16's scale finds its level in fewer.
_MOST_LOST: Final = 10


class Watch:
    """Ends a run whose weights or gradients are not finite any more; to be called before whatever writes."""

    def __init__(self, run: Path, every: int) -> None:
        self._run, self._every = run, min(every, _ASK_EVERY)

    def __call__(self, module: RestorationModule, _batch: Any) -> None:
        """Look, if it is time.

        Raises:
            DivergedError: the run leads nowhere; what it saved before stays.
        """
        config = module.config
        looks = config.validate_every
        last = module.step == config.steps
        if not (last or module.step % self._every == 0 or (looks and module.step % looks == 0)):
            return
        lost = int(module.lost)
        # With fp16, an overflow now and then is how the scale of the loss is found.
        limit = 1 if last and not module.scales_loss else _MOST_LOST
        if lost < limit and _are_finite(module):
            return
        kept = next((name for name in (BEST, LAST) if (self._run / name).is_file()), None)
        way_out = (
            f"go on with --init {self._run / kept} in another folder" if kept else "start again with that"
        )
        raise DivergedError(
            f"step {module.step}: the numbers of this run are not finite any more, and nothing of them was written. "
            f"Lower --lr ({config.lr:g}; --find-lr looks for one), and {way_out}"
        )


def _are_finite(module: RestorationModule) -> bool:
    parts = (module.network, module.average.module, module.discriminator)
    values = chain.from_iterable(part.state_dict().values() for part in parts)
    return all(bool(torch.isfinite(value).all()) for value in values if value.is_floating_point())
