"""Valid and invalid requests generated from the OpenAPI document: no 5xx, and no undocumented response."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from conftest import Photo, middle_tile, write_photo, write_tiny_weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.web.app import create_app

# Of each operation; together they are a minute's work.
EXAMPLES = 4
load_all_checks()
# Not the schemas of answers: schemathesis 4.32 cannot read rio-tiler's tuples ("prefixItems") in them.
CONFORMS = [
    CHECKS.get_one(name)
    for name in ("not_a_server_error", "status_code_conformance", "content_type_conformance")
]


@dataclass(frozen=True)
class Served:
    """The OpenAPI document of a small server, and path parameters that exist on it."""

    document: schemathesis.BaseSchema
    folder: Path
    known: dict[str, Any]


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("openapi")
    photo = write_photo(folder / "old.tif", Photo(width=256, height=256))
    weights = write_tiny_weights(folder / "w.safetensors")
    service = TileService(Settings(source=str(photo), weights=weights, runtime="openvino", max_image_px=256))
    service.warm_up()
    tile = middle_tile(service)
    west, south, east, north = service.old.info.bounds_lonlat
    known = {
        "tileMatrixSetId": "WebMercatorQuad",
        "z": tile.z,
        "x": tile.x,
        "y": tile.y,
        "scale": 2,
        "format": "png",
        "ext": "webp",
        "minx": west,
        "miny": south,
        "maxx": east,
        "maxy": north,
        "width": 64,
        "height": 48,
        "lon": (west + east) / 2,
        "lat": (south + north) / 2,
    }
    yield Served(
        schemathesis.openapi.from_asgi("/openapi.json", create_app(service.settings, service)), folder, known
    )
    service.close()


def requests(operation: schemathesis.APIOperation[Any], known: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Generate requests that the document allows or forbids, and some for a place on the photograph."""
    kinds = [operation.as_strategy(mode) for mode in GenerationMode]
    named = {one.name: known[one.name] for one in operation.path_parameters if one.name in known}
    if named:
        kinds.append(operation.as_strategy(path_parameters=named))
    return st.one_of(kinds)


@pytest.mark.slow
# geojson-pydantic's words on what a visitor sends.
@pytest.mark.filterwarnings("ignore:BBOX crossing")
@pytest.mark.filterwarnings("ignore:GeometryCollection should not")
def test_no_request_breaks_the_server(small_server: Served) -> None:
    statuses = set()
    for found in small_server.document.get_all_operations():
        operation = found.ok()

        @given(case=requests(operation, small_server.known))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case) -> None:
            answer = case.call(timeout=300)  # a busy machine
            statuses.add(answer.status_code)
            case.validate_response(answer, checks=CONFORMS)
            assert b"Traceback" not in answer.content
            assert str(small_server.folder).encode() not in answer.content

        ask()
    # It does reach the pictures, and is told no in more than one way.
    assert {200, 404, 422} <= statuses
