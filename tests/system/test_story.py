"""The story from end to end: photographs of 0.25 and 0.10 m teach a network, and its map is finer than the old one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from conftest import path_of, service_of
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from starlette.testclient import TestClient

from sr_model import ModelSpec, bundled_weights_path, load_weights
from tileserver.settings import Settings
from tileserver.web.app import create_app
from training.cli.main import main as orthosharp_train
from training.data.degrade import age
from training.measure.colour_map import matched_psnr

pytestmark = pytest.mark.slow

MERCATOR = "WebMercatorQuad"
LEFT, TOP = 374_000.0, 6_164_000.0  # Malmö, in SWEREF 99 TM
SIDE_PX, SHARP_M, OLD_M = 600, 0.10, 0.25


def town() -> np.ndarray:
    """Roofs with ridges, roads with lane marks, lawns and trees: uint8 [SIDE_PX, SIDE_PX, 3]."""
    random, finer = np.random.default_rng(3), 3
    canvas = Image.new("RGB", (SIDE_PX * finer, SIDE_PX * finer), (104, 126, 76))
    pen = ImageDraw.Draw(canvas)

    def shape(points: np.ndarray, colour: tuple[int, ...]) -> None:
        pen.polygon([(float(x) * finer, float(y) * finer) for x, y in points], fill=colour)

    for place in range(20, SIDE_PX, 145):
        for box in ((0, place, SIDE_PX, place + 34), (place, 0, place + 34, SIDE_PX)):
            pen.rectangle([edge * finer for edge in box], fill=(96, 96, 98))
        for start in range(0, SIDE_PX, 40):
            pen.rectangle(
                [n * finer for n in (start, place + 16, start + 18, place + 18)], fill=(215, 215, 210)
            )
    colours = ((170, 84, 62), (150, 74, 58), (92, 92, 96), (222, 222, 220), (140, 132, 124))
    for x in range(112, SIDE_PX, 145):
        for y in range(112, SIDE_PX, 145):
            colour = np.array(colours[int(random.integers(len(colours)))])
            angle, (along, across) = random.uniform(-0.3, 0.3), random.uniform((28, 16), (44, 26))
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            centre = np.array([x, y]) + random.uniform(-6, 6, 2)
            for slope, light in ((-1, 0.72), (1, 1.08)):
                half = np.array([[-along, 0], [along, 0], [along, slope * across], [-along, slope * across]])
                shape(half @ turn.T + centre, tuple(int(v) for v in np.minimum(colour * light, 250)))
            shape(np.array([[-4, -12], [2, -12], [2, -6], [-4, -6]]) @ turn.T + centre, (60, 58, 58))
    for _ in range(150):
        (x, y), radius = random.uniform(0, SIDE_PX, 2), random.uniform(5, 13)
        for shift, colour in ((2.5, (38, 46, 34)), (0, (62, 86, 50)), (-1.5, (84, 110, 64))):
            size = radius if shift >= 0 else radius / 2
            edges = (x + shift - size, y + shift - size, x + shift + size, y + shift + size)
            pen.ellipse([edge * finer for edge in edges], fill=colour)
    sharp = np.asarray(canvas.reduce(finer), np.float32)
    return np.clip(sharp + random.normal(0, 2.5, (SIDE_PX, SIDE_PX, 1)) + 0.5, 0, 255).astype(np.uint8)


def write(path: Path, rgb: np.ndarray, gsd_m: float) -> Path:
    """A GeoTIFF in SWEREF 99 TM."""
    size = {"height": rgb.shape[0], "width": rgb.shape[1], "count": 3, "dtype": "uint8"}
    place = Affine(gsd_m, 0, LEFT, 0, -gsd_m, TOP)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:3006", transform=place, **size) as file:
        file.write(np.moveaxis(rgb, 2, 0))
    return path


def train(*words: object) -> str:
    """`orthosharp-train` with these words, which must succeed."""
    result = CliRunner().invoke(orthosharp_train, [str(word) for word in words])
    assert result.exit_code == 0, f"{words[0]}: {result.output}"
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The town, its aged photograph, and pairs of both."""
    folder = tmp_path_factory.mktemp("story")
    sharp = town()
    new = write(folder / "new.tif", sharp, SHARP_M)
    aged = Image.fromarray(age(sharp, np.random.default_rng(5)))
    side = round(SIDE_PX * SHARP_M / OLD_M)
    old = write(folder / "old.tif", np.asarray(aged.resize((side, side), Image.Resampling.BOX)), OLD_M)
    small = ("--size", 128, "--step", 64, "--max-shift", 3, "--min-confidence", 0, "--drop-changed", 0)
    said = train("pairs", old, new, folder / "pairs", *small)
    assert "train: 0 " not in said
    return folder


# Few steps at a low rate from the bundled weights: what they have learnt of edges must survive.
SHORT = (
    "--steps",
    6,
    "--batch",
    2,
    "--sizes",
    64,
    "--lr",
    1e-4,
    "--ema",
    0.5,
    "--pixels-only",
    "--workers",
    1,
)


@pytest.fixture(scope="module", params=["network", "photo"])
def weights(folder: Path, request: pytest.FixtureRequest) -> Path:
    """Exported weights of either kind."""
    run, out = folder / f"run-{request.param}", folder / f"{request.param}.safetensors"
    init = ("--architecture", "half_scale", "--init", bundled_weights_path())
    train("fit", folder / "pairs", "--out", run, "--colours", request.param, *init, *SHORT)
    train("export", run, out, "--name", "town", "--provenance", "A test.", "--credit", "Nobody", "--onnx")
    return out


@pytest.fixture(scope="module")
def served(folder: Path, weights: Path) -> Iterator[TestClient]:
    """The old photograph at about 0.10 m: a pair's weights know it, relative ones are told."""
    wanted = {"native_zoom": 20} if load_weights(weights).spec.is_relative else {}
    source, new = str(folder / "old.tif"), str(folder / "new.tif")
    settings = Settings(source=source, new=new, weights=weights, runtime="openvino", **wanted)
    with TestClient(create_app(settings)) as client:
        yield client


def test_the_exported_spec_says_which_kind_it_is(weights: Path) -> None:
    spec: ModelSpec = load_weights(weights).spec
    assert spec.architecture == "half_scale"
    assert spec.halo_px % spec.stride == 0
    if spec.is_relative:
        assert (spec.colours, spec.ratio) == ("photo", pytest.approx(OLD_M / SHARP_M, rel=0.01))
        assert spec.ratio_range[0] < spec.ratio < spec.ratio_range[1] <= spec.max_ratio
    else:
        assert (spec.colours, spec.gsd_m) == ("network", pytest.approx(SHARP_M, rel=0.01))
    assert spec.source_gsd_range_m[0] < OLD_M < spec.source_gsd_range_m[1]


def test_it_is_served_at_a_tenth_of_a_metre(served: TestClient) -> None:
    view = service_of(served).rasters.view("restored", MERCATOR)
    native = view.pyramid.native_zoom
    octaves = {zoom: abs(np.log2(view.pixel(zoom).gsd_m / SHARP_M)) for zoom in range(17, 24)}
    assert native == 20 == min(octaves, key=lambda zoom: octaves[zoom])
    assert view.pixel(native).gsd_m == pytest.approx(0.084, abs=0.001)


def detail(rgb: np.ndarray) -> float:
    """Deviation of luminance that is finer than the old photograph's pixels."""
    luma = rgb.astype(np.float32) @ np.array((0.299, 0.587, 0.114), np.float32)
    return float((luma - gaussian_filter(luma, 1.0)).std())


def test_tiles_are_finer_than_the_photograph_and_not_bicubic(served: TestClient) -> None:
    shown = {}
    for layer in ("old", "restored", "new"):
        answer = served.get(f"/{layer}/tiles/{MERCATOR}/{path_of(served)}.png")
        assert answer.status_code == 200, answer.text
        rgba = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
        assert rgba[..., 3].all()
        shown[layer] = rgba[..., :3]
    difference = np.abs(shown["restored"].astype(float) - shown["old"])
    assert difference.mean() > 1
    assert detail(shown["restored"]) > 1.15 * detail(shown["old"])
    assert matched_psnr(shown["restored"], shown["new"]) > matched_psnr(shown["old"], shown["new"])
