"""Small photographs and a tiny network, generated for the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from command_calls import restore
from rasterio.enums import ColorInterp, Resampling
from scipy.ndimage import zoom as resize
from seeded_photo import SeededPhoto, seed_outputs
from starlette.testclient import TestClient

from sr_model import ModelSpec, save_weights
from sr_model.network import build
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress
from tileserver.web.app import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from viewer_visit import Visit


def pytest_configure(config: pytest.Config) -> None:
    """Ignore warnings that are other libraries' own doing."""
    # rasterio 1.4 multiplies matrices in a way that affine 3 deprecates.
    config.addinivalue_line("filterwarnings", "ignore:Use `@` matmul:PendingDeprecationWarning")
    # FastAPI suppresses it with warnings.catch_warnings, which another thread's catch_warnings may undo.
    config.addinivalue_line("filterwarnings", "ignore:The 'alias' attribute with value:UserWarning")


# A place in the state of New York, in UTM 18N.
LEFT, TOP = 620_000.0, 4_695_000.0


@dataclass(frozen=True)
class Photo:
    """What a test photograph is like.

    Attributes:
        width, height: size in pixels.
        gsd_m: pixel size in metres of EPSG:32618, or in units of `crs`.
        dtype: uint8, uint16 or float32.
        bands: colour bands.
        hole: what marks the missing north-west eighth: `nodata`, `alpha`, `mask`, or None for no hole.
        seed: of the picture.
        overviews: factors.
    """

    width: int = 640
    height: int = 512
    gsd_m: float = 0.6
    dtype: str = "uint8"
    bands: int = 3
    hole: str | None = None
    seed: int = 1
    crs: str = "EPSG:32618"
    origin: tuple[float, float] = (LEFT, TOP)
    overviews: tuple[int, ...] = (2, 4, 8)


def picture(photo: Photo) -> np.ndarray:
    """Return blotches of several sizes and straight edges: [bands, height, width] in 0-255, on every machine alike."""
    random = np.random.default_rng(photo.seed)
    total = np.full((photo.bands, photo.height, photo.width), 100.0)
    for cell, strength in ((64, 40.0), (16, 30.0), (4, 20.0)):
        coarse = random.normal(0, 1, (photo.height // cell + 2, photo.width // cell + 2))
        fine = resize(coarse, cell, order=1)[: photo.height, : photo.width]
        total += strength * fine * random.uniform(0.7, 1.3, (photo.bands, 1, 1))
    total[:, photo.height // 3 : photo.height // 3 + 12, :] += 60
    total[:, :, photo.width // 2 : photo.width // 2 + 9] -= 50
    return np.clip(total, 5, 250)


def write_photo(path: Path, photo: Photo) -> Path:
    """Write the photograph as a tiled GeoTIFF."""
    values = picture(photo)
    if photo.dtype != "uint8":
        values = values * 256
    values = values.astype(photo.dtype)
    valid = np.full((photo.height, photo.width), 255, np.uint8)
    if photo.hole:
        valid[: photo.height // 2, : photo.width // 4] = 0
    nodata = 0 if photo.hole == "nodata" else None
    if nodata is not None:
        values[:, valid == 0] = 0
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": photo.bands + (photo.hole == "alpha"),
        "dtype": photo.dtype,
        "width": photo.width,
        "height": photo.height,
        "crs": photo.crs,
        "transform": Affine(photo.gsd_m, 0, photo.origin[0], 0, -photo.gsd_m, photo.origin[1]),
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "compress": "deflate",
        "alpha": "unspecified",  # else GDAL takes a fourth band of colours for alpha
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values, list(range(1, photo.bands + 1)))
        if photo.hole == "alpha":
            opaque = np.iinfo(photo.dtype).max
            dataset.write(np.where(valid, opaque, 0).astype(photo.dtype), photo.bands + 1)
            dataset.colorinterp = (*dataset.colorinterp[: photo.bands], ColorInterp.alpha)
        if photo.hole == "mask":
            dataset.write_mask(valid)
        if photo.overviews:
            dataset.build_overviews(photo.overviews, Resampling.average)
        dataset.update_tags(CREDIT="Test Survey <1998>")
    return path


@pytest.fixture
def make_photo(tmp_path: Path) -> Callable[..., Path]:
    """Makes photographs: `make_photo(dtype="uint16", hole="mask")`."""

    def make(name: str = "old", **changes: Any) -> Path:
        return write_photo(tmp_path / f"{name}.tif", replace(Photo(), **changes))

    return make


def write_tiny_weights(path: Path, **changes: Any) -> Path:
    """An untrained network of few channels that changes every pixel; its numbers come from numpy alone."""
    tiny = ModelSpec.compact(width=8, blocks=1, halo_px=32, name="tiny")
    # With neither training nor credit, they would be warned of as not exported.
    spec = replace(tiny, **{"training": {"steps": 0}, **changes})
    random = np.random.default_rng(7)
    state = {}
    for name, tensor in build(spec).state_dict().items():
        fan_in = max(1, int(np.prod(tensor.shape[1:])))
        scale = 0.05 if name.endswith("bias") else 0.8 / np.sqrt(fan_in)
        state[name] = torch.from_numpy(random.normal(0, scale, tensor.shape).astype(np.float32))
    state["head.expand.bias"][:4] += 0.5  # redder, so that restored and old are easily told apart
    save_weights(path, spec, state)
    return path


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny network."""
    return write_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph without holes, of about two metatiles on a side."""
    return write_photo(tmp_path_factory.mktemp("photo") / "old.tif", Photo())


@pytest.fixture(scope="session")
def new_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finer photograph of nearly the same ground."""
    return write_photo(
        tmp_path_factory.mktemp("photo") / "new.tif", Photo(seed=2, gsd_m=0.4, width=900, height=700)
    )


@pytest.fixture(scope="session")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph with a hole in its mask."""
    return write_photo(tmp_path_factory.mktemp("restore") / "old.tif", Photo(hole="mask"))


@pytest.fixture(scope="session")
def restored(holed: Path, tiny_weights: Path) -> Path:
    """The output of `orthosharp restore` on it."""
    path = holed.with_name("restored.tif")
    assert restore(holed, path, tiny_weights).exit_code == 0
    return path


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Iterator[SeededPhoto]:
    """A photograph with a hole, seeded into an output of each kind."""
    folder = tmp_path_factory.mktemp("seeded")
    source = write_photo(folder / "old.tif", Photo(hole="mask"))
    seed_outputs(source, folder, tiny_weights)
    service = TileService(Settings(source=str(source), weights=tiny_weights, runtime="openvino"))
    yield SeededPhoto(source, folder, service)
    service.close()


@pytest.fixture
def make_service(tiny_weights: Path, photo: Path) -> Iterator[Callable[..., TileService]]:
    """Makes services over the tiny network: `make_service(source=path, queue_size=1)`."""
    made: list[TileService] = []

    def make(**settings: Any) -> TileService:
        chosen = {"source": str(photo), "weights": tiny_weights, "runtime": "openvino", **settings}
        made.append(TileService(Settings(**chosen)))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture(scope="module")
def served(photo: Path, new_photo: Path, tiny_weights: Path) -> Iterator[TestClient]:
    """An application over both photographs; `served.app.state.service` is its service."""
    settings = Settings(source=str(photo), new=str(new_photo), weights=tiny_weights, runtime="openvino")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def middle_tile(service: TileService, zoom_offset: int = 0, tms: str = "WebMercatorQuad") -> TileAddress:
    """Return the tile in the middle of the photograph, `zoom_offset` zooms finer than the native one."""
    pyramid = service.rasters.view("restored", tms).pyramid
    zoom = pyramid.native_zoom + zoom_offset
    window = pyramid.grid.covering(zoom, pyramid.extent)
    return TileAddress(zoom, (window.x + window.width // 2) // 256, (window.y + window.height // 2) // 256)


@dataclass(frozen=True)
class Server:
    """A real server in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    banner: str


def clean_environment() -> dict[str, str]:
    """Return the environment without ORTHOSHARP_ variables."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ORTHOSHARP_")}


def command_line(*arguments: object) -> list[str]:
    """`orthosharp` with arguments, as a new process runs it."""
    script = Path(sys.executable).with_name("orthosharp")
    program = [str(script)] if script.exists() else [shutil.which("orthosharp") or sys.executable]
    if program == [sys.executable]:
        program += ["-m", "tileserver.cli.entry"]
    return [*program, *map(str, arguments)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:  # a busy machine
        return False


@contextmanager
def running_server(*arguments: object) -> Iterator[Server]:
    """Start `orthosharp serve` on a free port and wait for its banner."""
    command = command_line("serve", *arguments, "--port", 0)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean_environment()
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if "Ctrl+C" in line:
                break
        banner = "".join(lines)
        addresses = [line.split()[-1] for line in lines if "Open" in line]
        assert addresses, f"the server did not start:\n{banner}"
        url = addresses[0].rstrip("/")
        deadline = time.monotonic() + 60
        while not _is_ready(url):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Server(process, url, banner)
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def service_of(client: TestClient) -> TileService:
    service: TileService = client.app.state.service  # type: ignore[attr-defined]
    return service


def path_of(client: TestClient, offset: int = 0) -> str:
    tile = middle_tile(service_of(client), offset)
    return f"{tile.z}/{tile.x}/{tile.y}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    # Playwright is imported by those alone who need it.
    from viewer_visit import chromium

    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser: Browser, origin: str) -> Iterator[Callable[..., Visit]]:
    """Opens visits to the server of the fixture `origin`; none may log an error or ask another server for anything."""
    from viewer_visit import visits

    with visits(browser, origin) as make:
        yield make
