"""Tiles beside the photograph: what the setting says, by layer, without reading or restoring anything."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from conftest import middle_tile, service_of
from PIL import Image
from pydantic import ValidationError
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.web.app import create_app

MERCATOR = "WebMercatorQuad"


def client_of(make_service: Callable[..., TileService], **settings: str) -> TestClient:
    service = make_service(**settings)
    return TestClient(create_app(service.settings, service))


def test_a_transparent_tile_is_the_default(served: TestClient) -> None:
    tile = middle_tile(service_of(served))
    for ending, side in ((".png", 256), (".webp", 256), ("@2x.png", 512)):
        for x in (0, tile.x + 9):
            answer = served.get(f"/tiles/{tile.z}/{x}/{tile.y}{ending}")
            assert answer.status_code == 200
            picture = Image.open(io.BytesIO(answer.content))
            assert picture.size == (side, side)
            assert np.asarray(picture.convert("RGBA"))[..., 3].max() == 0
            assert answer.headers["cache-control"] == "public, max-age=600"
            again = served.get(answer.url.path, headers={"If-None-Match": answer.headers["etag"]})
            assert again.status_code == 304
    # JPEG has no transparency.
    assert served.get(f"/tiles/{tile.z}/0/0.jpg").status_code == 204
    assert service_of(served).metrics.inferences._value.get() == 0


def test_tiles_that_cannot_exist_stay_errors(served: TestClient) -> None:
    for address in ("/tiles/25/0/0.png", "/tiles/3/8/0.png", "/old/tiles/NZTM2000Quad/1/1/1.png"):
        assert served.get(address).status_code == 404


def test_the_answer_is_chosen_by_layer(make_service: Callable[..., TileService]) -> None:
    client = client_of(make_service, outside="204,old=404,difference=transparent")
    statuses = {
        layer: client.get(f"/{layer}/tiles/{MERCATOR}/19/0/0.png").status_code
        for layer in ("restored", "old", "difference")
    }
    assert statuses == {"restored": 204, "old": 404, "difference": 200}
    assert "outside the photograph" in client.get(f"/old/tiles/{MERCATOR}/19/0/0.png").json()["detail"]


@pytest.mark.parametrize("value", ["white", "roads=404", "old=", "200", ""])
def test_other_answers_are_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="404, 204 or transparent"):
        Settings(source="x", outside=value)


def test_a_number_is_taken_too() -> None:
    """As orthosharp.toml has it."""
    assert Settings(source="x", outside=404).outside_of("old") == "404"  # type: ignore[arg-type]
