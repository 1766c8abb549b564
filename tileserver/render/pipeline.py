"""Photograph, network and finish put together: once, for the server, `seed` and `restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sr_model import Restorer
from tileserver.photo.source import Source
from tileserver.render.finish import Finish
from tileserver.render.networks import Networks
from tileserver.render.recipe import Recipe
from tileserver.render.renderer import Renderer
from tileserver.settings import Settings


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A photograph with what restores it.

    Attributes:
        photograph: the old one.
        restorer: the network.
        renderer: the network behind its queue, with the finish of its pixels.
    """

    photograph: Source
    restorer: Restorer
    renderer: Renderer

    @property
    def finish(self) -> Finish:
        """What is done to restored pixels."""
        return self.renderer.finish

    def recipe_digest(self, later: Source | None = None) -> str:
        """Digest of everything that decides restored pixels, and those of a later photograph if there is one."""
        sources = [source for source in (self.photograph, later) if source]
        return Recipe.of(self.restorer, sources, self.finish).digest


@contextmanager
def open_pipeline(photograph: Source, settings: Settings, networks: Networks) -> Iterator[Pipeline]:
    """Put a photograph and the network that the settings name together; lets go of the network at the end.

    Args:
        photograph: an open photograph, which stays the caller's.
        settings: name weights, runtime, device, finish, and how long the network's queue may be.
        networks: those that run already, and where a new one is kept.

    Raises:
        sr_model.SrModelError: the weights do not verify or are not for such pixels, or the device is missing.
    """
    network = networks.lease(settings, photograph.info.pixel.gsd_m)
    try:
        finish = Finish(settings.contrast, settings.tone)
        restorer = network.restorer
        yield Pipeline(photograph, restorer, Renderer(restorer.spec, network.queue, finish))
    finally:
        networks.release(network)
