"""The recipe's digest changes with everything that affects pixels, and not with the machine."""

from __future__ import annotations

import importlib.metadata

import pytest

from tileserver.render import recipe as module
from tileserver.render.finish import Finish
from tileserver.render.recipe import Recipe

PHOTOGRAPHS = (("print", (1, 2, 3), (0.0, 255.0)),)


@pytest.mark.parametrize(
    "constant",
    [
        "MARGIN_PX",
        "encode.JPEG_QUALITY",
        "encode.WEBP_QUALITY",
        "encode.WEBP_METHOD",
        "colours.SAMPLE_PX",
        "finish.BLOCK_PX",
        "RECIPE_VERSION",
    ],
)
def test_another_constant_gives_another_digest(constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("weights", PHOTOGRAPHS, Finish())
    before = recipe.digest
    monkeypatch.setattr(f"{module.__name__}.{constant}", 1)
    assert recipe.digest != before


def test_machines_share_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of libraries, and the last digits of estimates, differ between hosts that share tiles."""
    recipe = Recipe("weights", PHOTOGRAPHS, Finish(contrast=1.1))
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "9")
    monkeypatch.setattr(module, "version", lambda _: "9")
    assert Recipe("weights", PHOTOGRAPHS, Finish(contrast=1.1 * (1 + 1e-9))).digest == recipe.digest
    assert Recipe("weights", PHOTOGRAPHS, Finish(contrast=1.1001)).digest != recipe.digest
