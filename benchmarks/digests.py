"""Write digests of what this checkout makes of the demo: tiles, documents, an archive, a COG and chips.

A change that must not change a pixel gives the same file before and after:

    git stash; .venv/bin/python -m benchmarks.digests before.json; git stash pop
    .venv/bin/python -m benchmarks.digests after.json; diff before.json after.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mercantile
import rasterio
from click.testing import CliRunner
from starlette.testclient import TestClient

from tileserver import Settings, create_app
from tileserver.cli.main import main as cli

DEMO = Path(__file__).parents[1] / "tileserver" / "demo"
LAYERS = ("restored", "old", "new", "difference")
FORMATS = ("webp", "png", "jpg")
# Half the side of the ground that is seeded and restored, in degrees.
REACH_LON, REACH_LAT = 0.004, 0.003


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:20]


def served(client: TestClient) -> Iterator[tuple[str, str]]:
    """Yield address and digest of documents, and of tiles in the middle of the demo at every zoom."""
    document = client.get("/tilejson.json").json()
    lon, lat, _ = document["center"]
    paths = ["/tilejson.json", "/restored/WMTSCapabilities.xml", "/restored/preview.png"]
    for layer in LAYERS:
        for zoom in range(document["minzoom"], document["maxzoom"] + 1):
            tile = mercantile.tile(lon, lat, zoom)
            place = f"/{layer}/tiles/WebMercatorQuad/{zoom}/{tile.x}/{tile.y}"
            paths += [f"{place}.{extension}" for extension in FORMATS] + [f"{place}@2x.png"]
    for path in paths:
        answer = client.get(path)
        yield path, digest(answer.content) if answer.is_success else str(answer.status_code)


def written(folder: Path, lon: float, lat: float) -> Iterator[tuple[str, str]]:
    """Yield the name of each output and its digest: pixels and keys, without dates."""
    box = f"{lon - REACH_LON},{lat - REACH_LAT},{lon + REACH_LON},{lat + REACH_LAT}"
    archive, cog, chips = folder / "demo.mbtiles", folder / "demo.tif", folder / "chips"
    for command in (["seed", archive], ["restore", cog], ["restore", chips, "--chips", "500"]):
        words = [command[0], DEMO / "2010.tif", *command[1:], "--bbox", box]
        result = CliRunner().invoke(cli, [str(word) for word in words])
        assert result.exit_code == 0, result.output
    connection = sqlite3.connect(archive)
    rows = connection.execute("SELECT * FROM tiles ORDER BY zoom_level, tile_column, tile_row").fetchall()
    connection.close()
    yield "seed", digest(*(f"{row[:3]}".encode() + row[3] for row in rows))
    with rasterio.open(cog) as dataset:
        yield "restore", digest(dataset.read().tobytes(), dataset.dataset_mask().tobytes())
    files = sorted(path for path in chips.iterdir() if path.suffix in (".png", ".pgw"))
    yield "chips", digest(*(path.name.encode() + path.read_bytes() for path in files))


def main() -> None:
    """Write the digests as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    settings = Settings(source=str(DEMO / "2010.tif"), new=str(DEMO / "2017.tif"))
    with TestClient(create_app(settings)) as client, tempfile.TemporaryDirectory() as folder:
        found = dict(served(client))
        lon, lat, _ = client.get("/tilejson.json").json()["center"]
        found |= dict(written(Path(folder), lon, lat))
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} digests in {output}")


if __name__ == "__main__":
    main()
