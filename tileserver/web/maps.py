"""All maps of one server, and their replacement while requests are being answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from sr_model import SrModelError
from tileserver.archives.readers import open_seeded
from tileserver.errors import SettingsError, TileServerError
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.app import create_app
from tileserver.web.archive_map import create_archive_app
from tileserver.web.catalogue import SERVER_ROOT, Catalogue
from tileserver.web.middleware import local_path
from tileserver.web.openings import Openings
from tileserver.web.patience import PatientCall

logger = logging.getLogger("orthosharp")

# Interval at which photographs are checked for replacement.
WATCH_S: Final = 5.0
# How long a shutdown waits for reads and inferences that have begun.
CLOSING_S: Final = 20.0


@dataclass(eq=False)
class Generation:
    """The maps that were opened together, at start or by one reload.

    Attributes:
        apps: applications by the map's name.
        default: name of the map that answers paths without a map's name.
        active_requests: requests that are being answered.
        retired: whether a newer generation has taken over.
    """

    apps: Mapping[str, FastAPI]
    default: str
    active_requests: int = 0
    retired: bool = False

    @property
    def services(self) -> list[TileService]:
        """The tile services of the maps that are rendered; maps from archives have none."""
        return [app.state.service for app in self.apps.values() if hasattr(app.state, "service")]

    def is_outdated(self) -> bool:
        """Return whether a photograph was replaced since it was opened."""
        return any(app.state.is_outdated() for app in self.apps.values())

    def app_for(self, scope: Scope) -> tuple[FastAPI, Scope]:
        """Return the map for a request, and the request's scope for it.

        The map whose name is the first part of the path, which becomes part of `root_path`; else the default.
        """
        root = scope.get("root_path", "")
        name = local_path(scope).split("/", 2)[1:2]
        if name and name[0] in self.apps:
            return self.apps[name[0]], {**scope, "root_path": f"{root}/{name[0]}", SERVER_ROOT: root}
        return self.apps[self.default], {**scope, SERVER_ROOT: root}

    def close(self) -> None:
        """Close the photographs and threads, and release the networks."""
        for app in self.apps.values():
            app.state.close()


def _check_paths(maps: Mapping[str, Settings]) -> None:
    for name, settings in maps.items():
        if settings.root_path == f"/{name}" and len(maps) > 1:
            raise SettingsError(
                f"--root-path {settings.root_path} is the path of the map {name}, too: rename one of them"
            )


def open_generation(maps: Mapping[str, Settings], shared: Shared, admission: Admission) -> Generation:
    """Open and warm up all maps; the first is the default.

    Raises:
        StartError, sr_model.SrModelError, TileServerError: a map cannot be served; all are closed again.
    """
    apps: dict[str, FastAPI] = {}
    _check_paths(maps)
    try:
        for name, settings in maps.items():
            archive = open_seeded(settings.source) if isinstance(settings.source, str) else None
            if archive is not None:
                with ExitStack() as undo:
                    undo.callback(archive.close)
                    apps[name] = create_archive_app(settings, archive, shared.metrics, admission)
                    undo.pop_all()
                continue
            service = TileService(settings, shared)
            apps[name] = create_app(settings, service, admission)
            service.warm_up()
    except BaseException:
        for app in apps.values():
            app.state.close()
        raise
    for name, app in apps.items():
        app.state.catalogue = Catalogue(apps, name)
    return Generation(apps, next(iter(apps)))


class ReloadableMaps:
    """The ASGI application that `orthosharp serve` runs: the current generation of maps.

    SIGHUP, or a replaced photograph, opens a new generation. It takes over once it has been warmed up. Requests in
    progress are answered by the old generation, which is closed after the last of them.

    Args:
        first: the generation to begin with.
        shared, admission: resources and limits kept across reloads; closed at shutdown.
        load: opens a new generation.

    Attributes:
        hangs: whether something could not be closed at shutdown: threads that never end hold up the process.
    """

    def __init__(
        self, first: Generation, shared: Shared, admission: Admission, load: Callable[[], Generation]
    ) -> None:
        self.current = first
        self._shared = shared
        self._admission = admission
        self._reloading = asyncio.Lock()
        # Whether a reload was requested that has not begun.
        self._is_requested = False
        self._tasks: set[asyncio.Task[object]] = set()
        self._last_refusal = ""
        self.hangs = False
        self._openings = Openings(load, Generation.close, lambda: self._start(self._take_late()))
        self._outdated = PatientCall(lambda: self.current.is_outdated())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or handle the ASGI lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        generation = self.current
        generation.active_requests += 1
        try:
            app, inner = generation.app_for(scope)
            await app(inner, receive, send)
        finally:
            generation.active_requests -= 1
            if generation.retired and not generation.active_requests:
                self._close_later(generation)

    async def reload(self) -> bool:
        """Replace the current generation by a new one.

        Returns:
            Whether it was replaced. If the new generation cannot be opened, or not in time, the current one stays.
        """
        async with self._reloading:
            self._is_requested = False
            try:
                new = await self._openings.open()
            except (TileServerError, SrModelError) as error:
                if str(error) != self._last_refusal:
                    logger.warning("reload refused, the current maps stay: %s", error)
                self._last_refusal = str(error)
                return False
            except Exception:
                # The watching task must survive any failure, to try again at the next change.
                logger.exception("reload failed, the current maps stay")
                return False
            if new is None:
                return False
            self._take_over(new)
            return True

    def request_reload(self) -> None:
        """Begin a reload in the background. However often it is called during one, a single one follows."""
        if not self._is_requested:
            self._is_requested = True
            self._start(self.reload())

    async def _take_late(self) -> None:
        """Let maps take over that were opened after their deadline."""
        async with self._reloading:
            new = self._openings.take()
            if new is not None:
                self._take_over(new)

    def _take_over(self, new: Generation) -> None:
        old, self.current = self.current, new
        self._last_refusal = ""
        old.retired = True
        if not old.active_requests:
            self._close_later(old)
        logger.warning("reloaded: %s", ", ".join(new.apps))

    def _close_later(self, generation: Generation) -> None:
        """Close a generation in a thread: its last reads may hang, and the next reload need not wait for them."""
        self._start(PatientCall(generation.close).result(None))

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        loop = asyncio.get_running_loop()
        self._start(self._watch())
        # Unavailable on Windows and outside the main thread.
        with contextlib.suppress(NotImplementedError, AttributeError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGHUP, self.request_reload)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in tuple(self._tasks):
            task.cancel()
        self._openings.end()
        try:
            await PatientCall(self._close).result(CLOSING_S)
        except TimeoutError:
            self.hangs = True
            logger.warning(
                "ended without closing all files: a read or an inference did not end within %g s", CLOSING_S
            )
        await send({"type": "lifespan.shutdown.complete"})

    def _close(self) -> None:
        unused = self._openings.take()
        if unused is not None:
            unused.close()
        self._admission.close()
        self.current.close()
        self._shared.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            # A disk that hangs takes neither a thread of the pool nor the end of the process.
            with contextlib.suppress(TimeoutError):
                # An opening that is late may still become the next maps: only SIGHUP begins another beside it.
                if not self._openings.is_late and await self._outdated.result(WATCH_S):
                    await self.reload()
