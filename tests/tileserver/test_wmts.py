"""The WMTS capabilities, as desktop programs read them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

from tileserver.service import TileService
from tileserver.tiling.layer import supported_tms
from tileserver.web.wmts import capabilities


def test_web_mercator_comes_first_and_far_sets_not_at_all(make_service: Callable[..., TileService]) -> None:
    document = capabilities(make_service(), "http://x", "restored", list(supported_tms().list()))
    names = {"w": "http://www.opengis.net/wmts/1.0", "ows": "http://www.opengis.net/ows/1.1"}
    root = ET.fromstring(document)
    links = [link.text for link in root.findall(".//w:TileMatrixSetLink/w:TileMatrixSet", names)]
    sets = [found.text for found in root.findall("w:Contents/w:TileMatrixSet/ows:Identifier", names)]
    assert links == sets
    assert links[0] == "WebMercatorQuad"
    assert "WGS1984Quad" in links
    assert "EuropeanETRS89_LAEAQuad" not in links
