"""All maps behind one address, and how they are exchanged while requests go on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from sr_model import SrModelError
from tileserver.errors import TileServerError
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.app import create_app

logger = logging.getLogger("orthosharp")

# How often replaced files are looked for.
WATCH_S: Final = 5.0


@dataclass(eq=False)
class Generation:
    """Maps that were opened together.

    Attributes:
        apps: by the map's name.
        default: name of the one that answers paths without a name.
        inside: requests that are being answered.
        retired: whether newer ones have taken over.
    """

    apps: Mapping[str, FastAPI]
    default: str
    inside: int = 0
    retired: bool = False

    @property
    def services(self) -> list[TileService]:
        """Those behind the applications."""
        return [app.state.service for app in self.apps.values()]

    def is_outdated(self) -> bool:
        """Whether a photograph was replaced; looks at the files."""
        return any(service.outdated for service in self.services)

    def app_for(self, scope: Scope) -> tuple[FastAPI, Scope]:
        """The map that a path names in its first part, which becomes part of its root; else the default."""
        root = scope.get("root_path", "")
        name = scope["path"].removeprefix(root).split("/", 2)[1:2]
        if name and name[0] in self.apps:
            return self.apps[name[0]], {**scope, "root_path": f"{root}/{name[0]}"}
        return self.apps[self.default], scope

    def close(self) -> None:
        """Let go of photographs, threads and networks that nobody else uses."""
        for app in self.apps.values():
            app.state.close()


def open_generation(maps: Mapping[str, Settings], shared: Shared) -> Generation:
    """Open every map and try it out. The first is the default.

    Raises:
        StartError, sr_model.SrModelError, TileServerError: one of them cannot be served; none stays open.
    """
    apps: dict[str, FastAPI] = {}
    try:
        for name, settings in maps.items():
            service = TileService(settings, shared)
            apps[name] = create_app(settings, service)
            service.warm_up()
    except BaseException:
        for app in apps.values():
            app.state.close()
        raise
    return Generation(apps, next(iter(apps)))


class Site:
    """The ASGI application that `orthosharp serve` runs.

    SIGHUP opens photographs and weights anew; so does a file that was replaced. The new ones take over when they
    have proved to work. Requests inside the old ones are answered by them, and the last one closes them.

    Args:
        first: the maps to begin with.
        shared: what outlives a reload; closed at shutdown.
        load: opens the maps anew.
    """

    def __init__(self, first: Generation, shared: Shared, load: Callable[[], Generation]) -> None:
        self.current = first
        self._shared = shared
        self._load = load
        self._reloading = asyncio.Lock()
        self._complaint = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        generation = self.current
        generation.inside += 1
        try:
            app, inner = generation.app_for(scope)
            await app(inner, receive, send)
        finally:
            generation.inside -= 1
            if generation.retired and not generation.inside:
                await asyncio.to_thread(generation.close)

    async def reload(self) -> bool:
        """Open everything anew; whether that worked. What was there before goes on if it did not."""
        async with self._reloading:
            try:
                fresh = await asyncio.to_thread(self._load)
            except (TileServerError, SrModelError) as error:
                if str(error) != self._complaint:
                    logger.warning("reload refused, the maps stay as they were: %s", error)
                self._complaint = str(error)
                return False
            except Exception:
                # Whoever waits for the next change goes on waiting, whatever this one was.
                logger.exception("reload failed, the maps stay as they were")
                return False
            old, self.current = self.current, fresh
            self._complaint = ""
            old.retired = True
            if not old.inside:
                await asyncio.to_thread(old.close)
            logger.warning("reloaded: %s", ", ".join(fresh.apps))
            return True

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[object]]()
        tasks.add(asyncio.create_task(self._watch()))

        def hang_up() -> None:
            tasks.add(asyncio.create_task(self.reload()))

        # Not on Windows, and not outside the main thread.
        with contextlib.suppress(NotImplementedError, AttributeError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGHUP, hang_up)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in tasks:
            task.cancel()
        await asyncio.to_thread(self.current.close)
        await asyncio.to_thread(self._shared.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            if await asyncio.to_thread(self.current.is_outdated):
                await self.reload()
