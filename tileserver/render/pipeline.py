"""Photograph, network and finish, assembled in one place for the server, `seed` and `restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tileserver.photo.source import Source
from tileserver.render.appearance import Appearance, choose_appearance
from tileserver.render.network_queue import Network
from tileserver.render.networks import Networks
from tileserver.render.recipe import Recipe, mark_of
from tileserver.render.renderer import Renderer
from tileserver.settings import Settings


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A photograph, and the network and finish that restore it.

    Attributes:
        photograph: the old photograph.
        restorer: the network.
        renderer: renders windows with the network and the finish.
        mark: XMP of the pictures; empty for none.
    """

    photograph: Source
    restorer: Network
    renderer: Renderer
    mark: bytes

    @property
    def appearance(self) -> Appearance:
        """Scale and colours of restored pixels."""
        return self.renderer.appearance

    def recipe_digest(self) -> str:
        """Return the digest of everything that affects restored pictures."""
        return Recipe.of(self.restorer.digest, [self.photograph], self.appearance, mark=self.mark).digest


@contextmanager
def open_pipeline(photograph: Source, settings: Settings, networks: Networks) -> Iterator[Pipeline]:
    """Assemble a photograph and the network in the settings; the network is released at the end of the block.

    Args:
        photograph: an open photograph; the caller closes it.
        settings: weights, runtime, device, finish, and limits of the network's queue.
        networks: running networks, which are shared.

    Raises:
        sr_model.SrModelError: the weights are invalid or not for this pixel size, or the device is missing.
        SettingsError: the settings ask for a pixel size that the weights cannot draw.
        ReadError: the photograph cannot be read.
    """
    network = networks.lease(settings, photograph.info.pixel.gsd_m)
    try:
        restorer = network.restorer
        appearance = choose_appearance(restorer.spec, photograph, settings)
        mark = mark_of(settings, restorer.spec, restorer.digest)
        yield Pipeline(photograph, restorer, Renderer(restorer.spec, network.queue, appearance), mark)
    finally:
        networks.release(network)
