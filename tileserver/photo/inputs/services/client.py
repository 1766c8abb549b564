"""Polite requests to a service: few at a time, patient when it is busy, and with our name."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

import httpx

from tileserver.photo.inputs.services.address import without_secrets

# Requests to one host at the same time, over all maps of the process.
CONCURRENCY: Final = 4
ATTEMPTS: Final = 4
# Longest time that a request may take, with all its attempts and pauses.
DEADLINE_S: Final = 30.0
_CONNECT_S: Final = 10.0
_READ_S: Final = 20.0
_FIRST_PAUSE_S: Final = 0.5
_BUSY: Final = (429, 503)
_RETRIED: Final = (*_BUSY, 500, 502, 504)
_MOST_REDIRECTS: Final = 5


class ServiceFault(Exception):  # noqa: N818 - it becomes one of the public errors where it is known what it costs
    """A service did not answer, or not with what was asked for.

    Attributes:
        status: HTTP status to pass on; 504 where there was no answer.
    """

    def __init__(self, reason: str, status: int = 504) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP status, none of those that are retried.
        body: its content.
        content_type: media type in lower case, without parameters; may be empty.
    """

    status: int
    body: bytes
    content_type: str


@dataclass
class _Host:
    """What all requests to a host share: places in line, and when the host wants to be asked again."""

    slots: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(CONCURRENCY))
    not_before: float = 0.0


_hosts: Final[weakref.WeakValueDictionary[str, _Host]] = weakref.WeakValueDictionary()
_hosts_lock: Final = threading.Lock()


class PoliteClient:
    """Sends GET requests. Thread-safe; close it after the last request.

    At most `CONCURRENCY` requests go to a host at a time. Answers 429, 500, 502, 503, 504 and broken connections are
    tried again up to `ATTEMPTS` times, after the time that `Retry-After` names (RFC 9110, 10.2.3) or pauses that
    double. While a host asks to wait, no other request is sent to it.

    Credentials come from where GDAL takes them, and go to `host` only: user and password in the URL, a .netrc file,
    or GDAL_HTTP_USERPWD, GDAL_HTTP_BEARER and GDAL_HTTP_HEADERS in the environment.

    Args:
        host: host that the user named.
        deadline_s: longest time that `get` takes.
        clock, sleep: returns the time in seconds, and waits so many.
    """

    def __init__(
        self,
        host: str,
        deadline_s: float = DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._host, self._deadline_s, self._clock, self._sleep = host, deadline_s, clock, sleep
        self._shared: dict[str, _Host] = {}
        self._headers = _own_headers(os.environ)
        login = os.environ.get("GDAL_HTTP_USERPWD", "")
        self._login = httpx.BasicAuth(*login.split(":", 1)) if ":" in login else None
        self._client = httpx.Client(
            headers={"User-Agent": f"orthosharp/{version('orthosharp')}"},
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S, pool=deadline_s),
            limits=httpx.Limits(max_connections=2 * CONCURRENCY, max_keepalive_connections=CONCURRENCY),
            follow_redirects=True,
            event_hooks={"request": [self._keep_secrets]},
            max_redirects=_MOST_REDIRECTS,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, url: str, most_bytes: int) -> Reply:
        """Return the answer to a request.

        Args:
            url: of http or https.
            most_bytes: largest size of the answer.

        Raises:
            ServiceFault: there was none in time, none that is not an error of the server, or it is too large.
        """
        host = self._host_of(url)
        end = self._clock() + self._deadline_s
        pause = _FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            self._wait(host, end, url)
            reply, asked_s, reason = self._once(host, url, most_bytes, end)
            if reply is not None and reply.status not in _RETRIED:
                return reply
            status = reply.status if reply else 504
            wait_s = pause if asked_s is None else asked_s
            now = self._clock()
            if asked_s is not None or status in _BUSY:
                host.not_before = max(host.not_before, now + wait_s)
            if attempt == ATTEMPTS or now + wait_s > end:
                later = "" if asked_s is None else f", and asks to wait for {asked_s:.0f} s"
                raise ServiceFault(f"{reason}{later}, after {attempt} attempts", status)
            self._sleep(wait_s)
            pause *= 2
        raise AssertionError("unreachable")

    def _wait(self, host: _Host, end: float, url: str) -> None:
        """Wait until the host wants to be asked again."""
        wait_s = host.not_before - self._clock()
        if self._clock() + wait_s > end:
            raise ServiceFault(f"{_name(url)} asks to wait for {wait_s:.0f} s", 503)
        if wait_s > 0:
            self._sleep(wait_s)

    def _once(
        self, host: _Host, url: str, most_bytes: int, end: float
    ) -> tuple[Reply | None, float | None, str]:
        """One attempt: the answer, the pause that it asks for, and what was wrong."""
        if not host.slots.acquire(timeout=max(0.0, end - self._clock())):
            raise ServiceFault(f"{_name(url)} is slow: the requests before this one took too long")
        try:
            own = _host_name(url) == self._host.lower()
            login = self._login if own and self._login else httpx.USE_CLIENT_DEFAULT
            with self._client.stream("GET", url, headers=self._headers if own else {}, auth=login) as answer:
                body = bytearray()
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > most_bytes:
                        raise ServiceFault(f"{_name(url)} sent more than {most_bytes} bytes", 502)
                    if self._clock() > end:
                        raise ServiceFault(f"{_name(url)} sends too slowly")
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            reply = Reply(answer.status_code, bytes(body), kind)
            asked_s = _retry_after_s(answer.headers.get("Retry-After"))
            return reply, asked_s, f"{_name(url)} answered {answer.status_code}"
        except httpx.TimeoutException:
            return None, None, f"{_name(url)} did not answer in time"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, None, f"{_name(url)} cannot be reached ({str(error) or type(error).__name__})"
        finally:
            host.slots.release()

    def _keep_secrets(self, request: httpx.Request) -> None:
        """Take the user's headers out of a request to another host, to which the service redirects."""
        if _host_name(str(request.url)) != self._host.lower():
            for name in self._headers:
                request.headers.pop(name, None)

    def _host_of(self, url: str) -> _Host:
        name = _host_name(url)
        with _hosts_lock:
            host = self._shared.get(name) or _hosts.setdefault(name, _Host())
            self._shared[name] = host
        return host


def _host_name(url: str) -> str:
    """Host of a URL, with the port if it has one."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def _name(url: str) -> str:
    return without_secrets(url)


def _own_headers(environment: os._Environ[str]) -> dict[str, str]:
    """Headers that the user gave to GDAL, as `Name: value`, separated by commas or lines."""
    headers = {}
    for line in environment.get("GDAL_HTTP_HEADERS", "").replace(",", "\n").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    if environment.get("GDAL_HTTP_BEARER"):
        headers["Authorization"] = f"Bearer {environment['GDAL_HTTP_BEARER']}"
    return headers


def _retry_after_s(value: str | None) -> float | None:
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
