"""How much memory a network needs for its pictures, counted while it runs."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class TensorBytes(TorchFunctionMode):
    """Counts the bytes of the tensors that operations make inside a `with` block, and the most at any time.

    Attributes:
        most: the largest sum so far. What a library needs inside of one operation is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._now = 0
        self._owners: Counter[int] = Counter()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it returns."""
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, list | tuple) else (made,):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return made

    def _count(self, tensor: Tensor) -> None:
        memory = tensor.untyped_storage()
        at, size = memory.data_ptr(), memory.nbytes()
        # Views of one memory, and operations in place, are counted once.
        if not self._owners[at]:
            self._now += size
            self.most = max(self.most, self._now)
        self._owners[at] += 1
        weakref.finalize(tensor, self._release, at, size)

    def _release(self, at: int, size: int) -> None:
        self._owners[at] -= 1
        if not self._owners[at]:
            self._now -= size


def bytes_per_px(run: Callable[[Tensor], Tensor], picture: Tensor) -> float:
    """Memory that a network needs per pixel of its input, in bytes.

    Args:
        run: the network.
        picture: float [1, 3, h, w].
    """
    with torch.inference_mode(), TensorBytes() as counted:
        run(picture)
    return float(counted.most / (picture.shape[-2] * picture.shape[-1]))
