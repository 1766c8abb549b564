"""A model card in Markdown (Mitchell et al. 2019): the weights, their training data and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sr_model.weights import Weights
from training.evaluate.tables import METRICS
from training.pages import render

_COLUMNS: Final = (
    "rise",
    "overshoot",
    "rims",
    "blotches",
    "cast",
    "weave",
    "features",
    "pattern",
    "structure",
    "consistency",
    "psnr_db",
    "ssim",
    "improvement",
    "omission",
    "hallucination",
)


def model_card(weights: Weights, files: Sequence[Path], onnx_difference: float | None = None) -> str:
    """The card as Markdown.

    Args:
        weights: the exported weights, with `training` and `metrics` in their spec.
        files: the weights and the files beside them.
        onnx_difference: between the ONNX model and torch, as a share of the range from black to white.
    """
    spec = weights.spec
    lessons = {f"refined.{n}": lesson for n, lesson in enumerate(spec.training.get("refined", ()), 1)}
    return render(
        "card.md",
        spec=spec,
        digest=weights.digest,
        parameters_m=sum(tensor.numel() for tensor in weights.state.values()) / 1e6,
        files=[(path.name, path.stat().st_size / 1e6) for path in files],
        onnx_grey_levels=None if onnx_difference is None else 255 * onnx_difference,
        photographs=spec.training.get("photographs", []),
        aged=spec.training.get("aged", []),
        choices=sorted(_dotted({**spec.training.get("choices", {}), **lessons}).items()),
        titles=[METRICS[name].title for name in _COLUMNS],
        scores=[_row(score) for score in spec.metrics.get("scores", [])],
        seams=_seams(spec.metrics.get("scores", [])),
        intervals=spec.metrics.get("intervals", {}),
        judge=spec.metrics.get("judge", {}).get("features"),
    )


def _dotted(choices: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested choices as `loss.colour`."""
    flat: dict[str, Any] = {}
    for key, value in choices.items():
        if isinstance(value, Mapping):
            flat |= _dotted(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return flat


def _row(score: Mapping[str, Any]) -> list[str]:
    cells = [f"{score[name]:.{METRICS[name].digits}f}" if name in score else "" for name in _COLUMNS]
    ends = score["intervals"].get(_COLUMNS[0])
    if ends:
        cells[0] += f" ({ends[0]:.2f} to {ends[1]:.2f})"
    return [f"{score['site']}, {score['truth']}", score["method"], *cells]


def _seams(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{score['site']}: {score['seam_difference']:.2f} grey levels, step x {score['seam_gradient']:.3f}"
        for score in scores
        if "seam_gradient" in score
    ]
