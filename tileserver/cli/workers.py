"""`serve --workers N`: several processes listen on one port, and the first process looks after them.

The kernel spreads connections over them (SO_REUSEPORT). They are forked before anything heavy is imported, each opens
the maps for itself, and they share tiles through the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from sr_model.interrupts import INTERRUPTED
from tileserver.archives.suffixes import MBTILES, PMTILES
from tileserver.cli.listening import family_of, listen
from tileserver.errors import SettingsError
from tileserver.settings import Settings

logger = logging.getLogger("orthosharp")

_WATCHED: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
# A worker that ended is started again after this time, so that one which cannot run takes no processor.
_RESTART_S: Final = 1.0
_PROCESS_ID: Final = struct.Struct("i")


@dataclass(frozen=True)
class Worker:
    """What a worker knows of itself.

    Attributes:
        listener: its own socket on the common port.
        announces: whether it says what there is to say of the maps; one worker does, once.
        ready: pipe that tells the first process that it serves.
        share: how many workers share the memory that the settings allow.
        figures: folder in which they leave their metrics for each other.
    """

    listener: socket.socket
    announces: bool
    ready: int
    share: int
    figures: Path

    def say_ready(self) -> None:
        """Tell the first process that the maps are open: from now on, this worker is replaced if it ends."""
        os.write(self.ready, _PROCESS_ID.pack(os.getpid()))
        os.kill(os.getppid(), signal.SIGUSR1)


def check_workers(maps: Iterable[Settings]) -> None:
    """Refuse workers that would each make every tile for themselves.

    Raises:
        SettingsError: there are several, a map that is not an archive, and no store.
    """
    for settings in maps:
        is_archive = isinstance(settings.source, str) and settings.source.lower().endswith((MBTILES, PMTILES))
        if settings.workers > 1 and settings.store is None and not is_archive:
            raise SettingsError(
                "--workers needs a --store, through which they share tiles: add a folder, such as --store "
                "/dev/shm/tiles to keep them in memory"
            )


def become_worker(count: int, host: str, port: int) -> Worker:
    """Fork workers. Returns in each of them; the first process exits when they have ended.

    The first worker is alone until it serves, so that what is wrong is said once.

    Args:
        count: number of workers.
        host, port: where all of them listen; port 0 takes a free one.

    Raises:
        SettingsError: the port is in use, the address is not one of this machine, or the system lacks SO_REUSEPORT.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise SettingsError("--workers needs SO_REUSEPORT, which this system lacks: leave it out")
    # Two servers could share a port unnoticed: an ordinary socket finds out whether another one has it.
    with listen(host, port) as probe:
        port = probe.getsockname()[1]
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    # Holds the port while there is no worker; it does not listen, and so gets no connections.
    with _shared_socket(host, port):
        return _Fleet(host, port, count).look_after()


@dataclass
class _Fleet:
    """The workers, as the first process sees them.

    Attributes:
        host, port: where they listen.
        count: how many there are to be.
        life: pipe whose writing end only the first process holds: workers end when it closes.
        said: pipe into which workers write their process ids when they serve.
        running: process ids of the workers.
        ready: process ids of those that serve.
        figures: see `Worker`; removed at the end.
    """

    host: str
    port: int
    count: int
    life: tuple[int, int] = field(default_factory=os.pipe)
    said: tuple[int, int] = field(default_factory=os.pipe)
    running: set[int] = field(default_factory=set)
    ready: set[int] = field(default_factory=set)
    figures: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="orthosharp-workers-")))

    def look_after(self) -> Worker:
        """Start workers, and wait until all have ended; returns in each of them."""
        os.set_blocking(self.said[0], False)
        worker = self._fork(announces=True)
        while worker is None:
            received = signal.sigwait(_WATCHED)
            self.ready |= set(_process_ids(self.said[0]))
            if received in (signal.SIGINT, signal.SIGTERM):
                self._stop(received)
            elif received == signal.SIGHUP:
                self._send(signal.SIGHUP)
            worker = self._replace_ended() or self._fill_up()
        return worker

    def _fork(self, *, announces: bool = False) -> Worker | None:
        """Start a worker. In it, return what it is; in the first process, None."""
        process = os.fork()
        if process:
            self.running.add(process)
            return None
        for end in (self.life[1], self.said[0]):
            os.close(end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        threading.Thread(target=self._end_with_first, daemon=True).start()
        listener = _shared_socket(self.host, self.port)
        return Worker(listener, announces, self.said[1], self.count, self.figures)

    def _fill_up(self) -> Worker | None:
        """Start the workers that are missing, once one serves."""
        while self.ready and len(self.running) < self.count:
            if (worker := self._fork()) is not None:
                return worker
        return None

    def _replace_ended(self) -> Worker | None:
        """Start others in place of workers that ended; exit if one had not got as far as serving."""
        for process, code in _ended():
            self.running.discard(process)
            if process not in self.ready:
                self._end_all()
                sys.exit(code if code >= 0 else 128 - code)
            self.ready.discard(process)
            (self.figures / str(process)).unlink(missing_ok=True)
            logger.error("worker %d ended with %d: another one takes its place", process, code)
            time.sleep(_RESTART_S)
            if (worker := self._fork()) is not None:
                return worker
        return None

    def _stop(self, received: int) -> NoReturn:
        """Let all workers answer what they have begun, and end as one that was told so itself."""
        self._end_all()
        if received == signal.SIGINT:
            sys.exit(INTERRUPTED)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(128 + signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _end_with_first(self) -> None:
        """End this worker when the first process has ended, however it did."""
        os.read(self.life[0], 1)
        shutil.rmtree(self.figures, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGTERM)

    def _end_all(self) -> None:
        """Tell workers to end, and wait: the deadlines of their requests bound that. A second Ctrl-C kills them."""
        self._send(signal.SIGTERM)
        signal.signal(signal.SIGINT, lambda *_: self._send(signal.SIGKILL))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while self.running:
            process, _ = os.wait()
            self.running.discard(process)
        shutil.rmtree(self.figures, ignore_errors=True)


def _process_ids(pipe: int) -> Iterator[int]:
    """Ids that were written into a pipe; a write of so few bytes is never divided."""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(pipe, _PROCESS_ID.size):
            yield _PROCESS_ID.unpack(data)[0]


def _ended() -> Iterator[tuple[int, int]]:
    """Ids and exit codes of processes that have ended; several signals of it may arrive as one."""
    with contextlib.suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            yield one[0], os.waitstatus_to_exitcode(one[1])


def _shared_socket(host: str, port: int) -> socket.socket:
    """A socket on a port that others of this user may have, too."""
    shared = socket.socket(family_of(host), socket.SOCK_STREAM)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind((host, port))
    return shared
