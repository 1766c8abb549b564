"""A STAC item that describes weights, with the Machine Learning Model extension, so that catalogues find them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from sr_model.spec import ModelSpec
from sr_model.weights import Weights
from training.data.manifest import Bounds

STAC_VERSION: Final = "1.1.0"
MLM: Final = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
FILE: Final = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

_TASK: Final = "super-resolution"
_COLOURS: Final = ("red", "green", "blue")
# The extension wants them among the properties, and STAC allows them there only if an asset has them too.
_BANDS: Final = [{"name": colour} for colour in _COLOURS]
# Of multihash: SHA-256, 32 bytes.
_SHA256: Final = "1220"


def stac_item(weights: Weights, files: Sequence[Path], *, exported: datetime | None = None) -> dict[str, Any]:
    """The item as JSON values.

    Args:
        weights: the exported weights; their `training` says where the ground is.
        files: beside which the item will lie: the weights first, then an ONNX model, a model card.
        exported: when; by default now.
    """
    spec = weights.spec
    time = (exported or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    boxes = [site["bounds_wgs84"] for site in spec.training.get("photographs", ()) if site["bounds_wgs84"]]
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [MLM, FILE],
        "id": f"orthosharp-{spec.name}-{weights.digest[:12]}".replace(" ", "-"),
        "geometry": _geometry(boxes),
        "properties": {"datetime": time, "created": time, **_common(spec), **_model(weights)},
        "links": [],
        "assets": {_key(path): _asset(path) for path in files},
    }
    if boxes:
        wests, souths, easts, norths = zip(*boxes, strict=True)
        item["bbox"] = [min(wests), min(souths), max(easts), max(norths)]
    return item


def _geometry(boxes: Sequence[Bounds]) -> dict[str, Any] | None:
    """The ground it was trained on; STAC takes null where there is none."""
    if not boxes:
        return None
    rings = [[[[w, s], [e, s], [e, n], [w, n], [w, s]]] for w, s, e, n in boxes]
    return {"type": "MultiPolygon", "coordinates": rings}


def _common(spec: ModelSpec) -> dict[str, Any]:
    named: dict[str, Any] = {
        "title": f"orthosharp {spec.name}",
        "description": spec.provenance,
        "license": spec.licence,
    }
    if spec.credit:
        named["providers"] = [{"name": spec.credit, "roles": ["producer"]}]
    own = {
        **_scale(spec),
        "orthosharp:colours": spec.colours,
        "orthosharp:source_gsd_range_m": list(spec.source_gsd_range_m),
        "orthosharp:halo_px": spec.halo_px,
        "orthosharp:stride": spec.stride,
    }
    if spec.training:
        own["orthosharp:training"] = dict(spec.training)
    if spec.metrics:
        own["orthosharp:metrics"] = dict(spec.metrics)
    return {**named, "bands": _BANDS, **own}


def _scale(spec: ModelSpec) -> dict[str, Any]:
    """Weights of relative scale have no ground sample distance."""
    if spec.is_relative:
        return {
            "orthosharp:ratio": spec.ratio,
            "orthosharp:ratio_range": list(spec.ratio_range),
            "orthosharp:max_ratio": spec.max_ratio,
        }
    return {"gsd": spec.gsd_m, "orthosharp:gsd_range_m": list(spec.gsd_range_m)}


def _model(weights: Weights) -> dict[str, Any]:
    spec = weights.spec
    sizes = [tensor.numel() for tensor in weights.state.values()]
    fields = {
        # The extension wants a letter at the start, and a letter or digit at the end.
        "mlm:name": f"orthosharp {spec.name}".rstrip("-._ "),
        "mlm:architecture": "U-Net",
        "mlm:tasks": [_TASK],
        "mlm:framework": "PyTorch",
        # Three numbers, without what a nightly or a CUDA build adds.
        "mlm:framework_version": ".".join(str(torch.__version__).split("+")[0].split(".")[:3]),
        "mlm:total_parameters": sum(sizes),
        "mlm:memory_size": 4 * sum(sizes),
        "mlm:pretrained": True,
        "mlm:pretrained_source": spec.provenance,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input(spec)],
        "mlm:output": [_output(spec)],
        "orthosharp:digest": weights.digest,
    }
    choices = {"architecture": spec.architecture, **spec.config, **spec.training.get("choices", {})}
    return fields | {"mlm:hyperparameters": choices}


def _input(spec: ModelSpec) -> dict[str, Any]:
    bands: list[Any] = list(_COLOURS)
    scaling: list[dict[str, Any]] = [
        {"type": "z-score", "mean": 255 * mean, "stddev": 255 * std}
        for mean, std in zip(spec.mean, spec.std, strict=True)
    ]
    if spec.planes > len(_COLOURS):
        bands.append({"name": "grain", "format": "python", "expression": "sr_model.pixels:grain_plane"})
        scaling.append({"type": "scale", "value": 1})
    return {
        "name": "window",
        "description": f"A window whose origin and size are multiples of {spec.stride} px of the zoom's grid",
        "bands": bands,
        "input": _array(spec.planes),
        "value_scaling": scaling,
        "resize_type": None,
        "pre_processing_function": {"format": "python", "expression": "sr_model.pixels:normalise"},
    }


def _output(spec: ModelSpec) -> dict[str, Any]:
    bound = spec.colours == "photo"
    last_step = "sr_model.binding:bind_colours" if bound else "sr_model.tensors:denormalise_tensor"
    return {
        "name": "restored",
        "description": "The same window, halo included, restored",
        "tasks": [_TASK],
        "bands": list(_COLOURS),
        "result": _array(len(_COLOURS)),
        "post_processing_function": {"format": "python", "expression": last_step},
    }


def _array(planes: int) -> dict[str, Any]:
    order = ["batch", "bands", "height", "width"]
    return {"shape": [-1, planes, -1, -1], "dim_order": order, "data_type": "float32"}


def _key(path: Path) -> str:
    return {".safetensors": "weights", ".onnx": "onnx"}.get(path.suffix, "card")


def _asset(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    common = {
        "href": f"./{path.name}",
        "file:size": len(data),
        "file:checksum": _SHA256 + hashlib.sha256(data).hexdigest(),
    }
    if _key(path) == "card":
        return {**common, "title": "Model card", "type": "text/markdown", "roles": ["metadata"]}
    onnx = _key(path) == "onnx"
    return {
        **common,
        "title": "ONNX model" if onnx else "Weights",
        "type": f"application/octet-stream; application={'onnx' if onnx else 'safetensors'}",
        "roles": ["mlm:model", *([] if onnx else ["mlm:weights"]), "data"],
        "bands": _BANDS,
        "mlm:artifact_type": "onnx" if onnx else "safetensors.torch.save_file",
    }
