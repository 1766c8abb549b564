"""What a server writes while it runs, and the ids by which its lines name requests."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import clean_environment, command_line, free_port
from damage import block, overwrite

pytestmark = pytest.mark.slow

MADE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Logged:
    """A server whose output goes to a file."""

    url: str
    path: Path

    def lines(self, sign: str) -> list[str]:
        """Return the lines with these words, once there are any."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if found := [line for line in self.path.read_text().splitlines() if sign in line]:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no line with {sign!r} in:\n{self.path.read_text()}")


@contextmanager
def logging_server(output: Path, *arguments: object) -> Iterator[Logged]:
    port = free_port()
    command = command_line("serve", *arguments, "--port", port, "--access-log", "--runtime", "openvino")
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=clean_environment())
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        yield Logged(f"http://127.0.0.1:{port}", output)
    finally:
        process.terminate()
        process.wait(timeout=30)


def damaged_answer(server: Logged, photo: Path, request_id: str) -> httpx.Response:
    """Ask for a picture of the whole photograph after two of its blocks were destroyed."""
    for column in range(2):
        offset, size = block(photo, column, 0)
        overwrite(photo, offset, bytes(size))
    return httpx.get(
        f"{server.url}/old/preview.png?max_size=2048", headers={"X-Request-ID": request_id}, timeout=60
    )


def test_every_line_is_an_object_and_names_its_request(
    make_photo: Callable[..., Path], tiny_weights: Path, tmp_path: Path
) -> None:
    photo = make_photo("logged")
    with logging_server(tmp_path / "log", photo, "--weights", tiny_weights, "--log-format", "json") as server:
        answer = httpx.get(f"{server.url}/tilejson.json?a=1", headers={"X-Request-ID": "visit-7.b_c"})
        assert answer.headers.get_list("x-request-id") == ["visit-7.b_c"]
        access = json.loads(server.lines("visit-7.b_c")[0])
        assert damaged_answer(server, photo, "unlucky").status_code == 502
        server.lines("preview.png")
    lines: list[dict[str, Any]] = [json.loads(line) for line in server.path.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    age = datetime.now(UTC) - datetime.fromisoformat(access.pop("time"))
    assert timedelta(0) <= age < timedelta(minutes=2)
    assert access.pop("client").startswith("127.0.0.1:")
    assert access.pop("message")
    assert access == {
        "level": "INFO",
        "logger": "uvicorn.access",
        "request_id": "visit-7.b_c",
        "method": "GET",
        "path": "/tilejson.json?a=1",
        "http_version": "1.1",
        "status": 200,
    }
    unlucky = [line for line in lines if line.get("request_id") == "unlucky"]
    assert [(line["level"], line["logger"]) for line in unlucky] == [
        ("ERROR", "orthosharp"),
        ("INFO", "uvicorn.access"),
    ]
    (serving,) = [line for line in lines if "address" in line]
    assert serving["address"] == server.url
    assert "request_id" not in serving


def test_lines_of_text_name_their_request_and_a_malformed_id_is_replaced(
    photo: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    with logging_server(tmp_path / "log", photo, "--weights", tiny_weights) as server:
        httpx.get(f"{server.url}/healthz", headers={"X-Request-ID": "visit-8"})
        (line,) = server.lines("visit-8")
        assert re.fullmatch(
            r'INFO uvicorn\.access: 127\.0\.0\.1:\d+ - "GET /healthz HTTP/1\.1" 200 \[visit-8\]', line
        )
        seen = set()
        for given in ("", "x" * 129, 'a"b', "a b", "../a", "a\tb", "<b>", "-rf", "é".encode("latin-1")):
            answer = httpx.get(f"{server.url}/healthz", headers={"X-Request-ID": given})
            found = answer.headers["x-request-id"]
            assert MADE.fullmatch(found), given
            server.lines(found)
            seen.add(found)
        assert len(seen) == 9
        longest = "x" * 128
        kept = httpx.get(f"{server.url}/nothing", headers={"X-Request-ID": longest})
        assert (kept.status_code, kept.headers["x-request-id"]) == (404, longest)
        assert MADE.fullmatch(httpx.get(f"{server.url}/healthz").headers["x-request-id"])
        assert "WARNING" not in server.path.read_text(), "visitors cannot fill the log"


def test_a_refusal_is_an_object_too(tmp_path: Path) -> None:
    command = command_line("serve", tmp_path / "none.tif", "--log-format", "json", "--port", 0)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())
    assert done.returncode == 2
    assert done.stdout == ""
    *_, last = [json.loads(line) for line in done.stderr.splitlines()]
    assert last["level"] == "CRITICAL"
    assert "none.tif cannot be read: there is no such file" in last["message"]
