"""Whatever decides pixels changes the key."""

from __future__ import annotations

import pytest

from tileserver.render import recipe as key
from tileserver.render.finish import Finish
from tileserver.render.recipe import Recipe


@pytest.mark.parametrize(
    "constant",
    [
        "MARGIN_PX",
        "encode.JPEG_QUALITY",
        "encode.WEBP_QUALITY",
        "encode.WEBP_METHOD",
        "tone.SAMPLE_PX",
        "finish.BLOCK_PX",
        "version",
    ],
)
def test_another_constant_or_library_gives_another_key(
    constant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("weights", "openvino", (("print", (1, 2, 3), (0.0, 255.0)),), Finish())
    before = recipe.digest
    monkeypatch.setattr(f"{key.__name__}.{constant}", (lambda _: "9") if constant == "version" else 1)
    assert recipe.digest != before
