"""The recipe's digest changes with everything that affects pixels."""

from __future__ import annotations

import pytest

from tileserver.render import recipe as module
from tileserver.render.finish import Finish
from tileserver.render.recipe import Recipe


@pytest.mark.parametrize(
    "constant",
    [
        "MARGIN_PX",
        "encode.JPEG_QUALITY",
        "encode.WEBP_QUALITY",
        "encode.WEBP_METHOD",
        "colours.SAMPLE_PX",
        "finish.BLOCK_PX",
        "version",
    ],
)
def test_another_constant_or_library_gives_another_digest(
    constant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("weights", "openvino", (("print", (1, 2, 3), (0.0, 255.0)),), Finish())
    before = recipe.digest
    monkeypatch.setattr(f"{module.__name__}.{constant}", (lambda _: "9") if constant == "version" else 1)
    assert recipe.digest != before
