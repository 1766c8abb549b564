"""A disk that hangs freezes neither the event loop nor all threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.web import health
from tileserver.web.app import create_app
from tileserver.web.patience import PatientCall


def test_a_call_that_hangs_is_made_once_however_many_wait() -> None:
    gate, calls = threading.Event(), list[int]()

    def hang() -> int:
        calls.append(1)
        assert gate.wait(30)
        return len(calls)

    async def ask() -> None:
        patient = PatientCall(hang)
        waits = (patient.result(0.05) for _ in range(20))
        answers = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(answer) for answer in answers} == {TimeoutError}
        assert calls == [1]
        gate.set()
        assert await patient.result(30) in (1, 2)

    asyncio.run(ask())


def test_errors_of_the_call_are_raised() -> None:
    def fail() -> int:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        asyncio.run(PatientCall(fail).result(30))


def test_a_hung_disk_makes_the_server_unready_and_nothing_else(
    make_service: Callable[..., TileService], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, gate = make_service(), threading.Event()
    client = TestClient(create_app(service.settings, service))
    assert client.get("/readyz").status_code == 503, "not warmed up"

    def hang(files: Any) -> Any:
        assert gate.wait(30)
        return ()

    monkeypatch.setattr(health, "_DISK_S", 0.1)
    monkeypatch.setattr("tileserver.photo.file_watch.file_states", hang)
    for _ in range(3):
        answer = client.get("/readyz")
        assert (answer.status_code, "does not respond" in answer.text) == (503, True)
        assert client.get("/healthz").status_code == 200
    gate.set()
