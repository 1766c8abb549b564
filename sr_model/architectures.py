"""What is known of each architecture without torch: its stride, its sizes, and how much of a window its decoder needs.

`sr_model.network` defines them for torch, `sr_model.graph` for OpenVINO and ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from sr_model.errors import WeightsError
from sr_model.spec import HALF_SCALE_SIZES, ModelSpec

STRIDES: Final = {"compact": 16, "half_scale": 8, "resnet34": 32}


def check_architecture(spec: ModelSpec) -> None:
    """Refuse a spec that no network can be made of.

    Raises:
        WeightsError: unknown architecture, a stride that is not the architecture's, or sizes that are missing.
    """
    if spec.architecture not in STRIDES:
        known = ", ".join(STRIDES)
        raise WeightsError(f"unknown architecture {spec.architecture!r} (known: {known}): update orthosharp")
    stride = STRIDES[spec.architecture]
    if spec.stride != stride:
        raise WeightsError(
            f"{spec.architecture} has stride {stride}, the spec says {spec.stride}: export again"
        )
    if spec.architecture == "half_scale":
        half_scale_sizes(spec)


def half_scale_sizes(spec: ModelSpec) -> dict[str, Sequence[int]]:
    """`widths`, `blocks` and `decoder_blocks` of `sr_model.half_scale.HalfScaleUNet`.

    Raises:
        WeightsError: one of them is missing, or has not as many numbers as there are scales.
    """
    sizes = {name: cast(Sequence[int], spec.config.get(name, ())) for name in HALF_SCALE_SIZES["medium"]}
    if [len(size) for size in sizes.values()] != [3, 3, 2]:
        raise WeightsError(
            f"half_scale needs 3 widths, 3 blocks and 2 decoder_blocks, the spec says {dict(spec.config)}: "
            "export again"
        )
    return sizes


def compact_sizes(spec: ModelSpec) -> tuple[int, int]:
    """`width` and `blocks` of `sr_model.network.CompactUNet`."""
    return cast(int, spec.config.get("width", 48)), cast(int, spec.config.get("blocks", 2))


def half_scale_insets(trim_px: int, decoder_blocks: Sequence[int]) -> tuple[int, int]:
    """Distance from the border at which the decoder begins at 1/4 and at 1/2; cells further out reach no result.

    A block sees two cells around each of its own, and the head one.

    Args:
        trim_px: width of the border that the result lacks on each side.
        decoder_blocks: residual blocks of the decoder at 1/2 and 1/4.
    """
    at2 = max(0, trim_px - 2 * (2 * decoder_blocks[0] + 1))
    at4 = max(0, at2 - 4 * 2 * decoder_blocks[1]) // 4 * 4
    return at4, at2


def compact_insets(trim_px: int) -> tuple[int, int, int]:
    """The same at 1/8, 1/4 and 1/2: the layers after the join of a scale see less than four of its cells."""
    at8, at4, at2 = (max(0, trim_px - 4 * scale) for scale in (8, 4, 2))
    return at8, at4, at2


def resnet34_insets(trim_px: int) -> tuple[int, int, int, int]:
    """The same at 1/8, 1/4, 1/2 and 1: the layers after the join of a scale see less than eight of its cells."""
    at8, at4, at2, at1 = (max(0, trim_px - 8 * scale) for scale in (8, 4, 2, 1))
    return at8, at4, at2, at1
