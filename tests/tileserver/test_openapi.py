"""Requests made from our own OpenAPI document, wrong ones too: no 5xx and no answer that it does not name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from conftest import Photo, write_photo, write_tiny_weights
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS

from tileserver.app import create_app
from tileserver.service import TileService
from tileserver.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    """The document of a small server."""
    folder = tmp_path_factory.mktemp("openapi")
    photo = write_photo(folder / "old.tif", Photo(width=256, height=256))
    weights = write_tiny_weights(folder / "w.safetensors")
    service = TileService(Settings(source=str(photo), weights=weights, runtime="onnx", max_image_px=256))
    service.warm_up()
    yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service.settings, service))
    service.close()


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_server(case: schemathesis.Case) -> None:
    answer = case.call()
    names = ("not_a_server_error", "status_code_conformance", "content_type_conformance")
    case.validate_response(answer, checks=[CHECKS.get_one(name) for name in names])
    assert "Traceback" not in answer.text
    assert str(Path.home()) not in answer.text
