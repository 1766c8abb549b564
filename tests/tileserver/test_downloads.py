"""The files that open the map in other programs: what stands in them; GDAL and QGIS read them in the system's tests."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pystac
import pystac.validation
import pytest
from conftest import middle_tile, service_of
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.web.app import create_app
from tileserver.web.downloads import _dates

LAYERS = ("restored", "old", "new", "difference")


def xml(client: TestClient, path: str) -> ET.Element:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert "X-Forwarded-Host" in answer.headers["vary"]
    return ET.fromstring(answer.content)


def answers(client: TestClient, template: str) -> bool:
    tile = middle_tile(service_of(client))
    path = template.replace("{zoom}", "{z}").format(z=tile.z, x=tile.x, y=tile.y)
    return client.get(path).headers["content-type"] == "image/png"


@pytest.mark.parametrize("layer", LAYERS)
def test_qgis_layers_have_the_zooms_that_are_served(served: TestClient, layer: str) -> None:
    document = served.get("/tilejson.json").json()
    definition = xml(served, f"/{layer}/layer.qlr")
    (found,) = definition.findall("maplayers/maplayer")
    source = parse_qs(found.findtext("datasource"))
    assert source["type"] == ["xyz"]
    assert (source["zmin"], source["zmax"]) == ([str(document["minzoom"])], [str(document["maxzoom"])])
    assert answers(served, source["url"][0])
    assert "attachment" in served.get(f"/{layer}/layer.qlr").headers["content-disposition"]
    assert "Test Survey <1998>" in found.findtext("attribution")
    assert ("AI-restored" in found.findtext("attribution")) == (layer in ("restored", "difference"))
    project = xml(served, "/project.qgs")
    shown = {one.get("id") for one in project.iter("layer-tree-layer") if one.get("checked") == "Qt::Checked"}
    assert len(project.findall("projectlayers/maplayer")) == 4
    assert len(shown) == 1
    assert "restored" in next(iter(shown))


@pytest.mark.parametrize("layer", LAYERS)
def test_imagery_of_josm_and_id(served: TestClient, layer: str) -> None:
    name = "{http://josm.openstreetmap.de/maps-1.0}"
    (entry,) = xml(served, f"/{layer}/josm.xml").findall(f"{name}entry")
    feature = served.get(f"/{layer}/imagery.geojson").json()
    document = served.get(f"/{layer}/WebMercatorQuad/tilejson.json").json()
    assert entry.findtext(f"{name}url") == feature["properties"]["url"]
    assert answers(served, feature["properties"]["url"])
    assert int(entry.findtext(f"{name}max-zoom")) == feature["properties"]["max_zoom"] == document["maxzoom"]
    assert int(entry.findtext(f"{name}min-zoom")) == document["minzoom"]
    bounds = entry.find(f"{name}bounds")
    assert [
        float(bounds.get(f"{end}-{axis}")) for end in ("min", "max") for axis in ("lon", "lat")
    ] == document["bounds"]
    assert "Test Survey" in entry.findtext(f"{name}attribution-text")
    assert feature["properties"]["attribution"]["text"] == document["attribution"]


def test_stac_item(served: TestClient) -> None:
    answer = served.get("/item.json")
    assert answer.headers["content-type"] == "application/geo+json"
    document: dict[str, Any] = answer.json()
    assert document["stac_extensions"], "whose schema only the network has"
    item = pystac.Item.from_dict({**document, "stac_extensions": []})
    pystac.validation.validate(item)
    assert {"restored", "old", "thumbnail"} <= item.assets.keys()
    for asset in item.assets.values():
        reply = served.get(asset.href)
        assert (reply.status_code, reply.headers["content-type"]) == (200, asset.media_type)
    templates = [link.target for link in item.links if link.rel == "xyz"]
    assert len(templates) == 4
    assert all(answers(served, str(template)) for template in templates)
    for link in (one for one in item.links if one.rel in ("wms", "wmts")):
        query = f"SERVICE={link.rel.upper()}&REQUEST=GetCapabilities"
        assert served.get(f"{link.target}?{query}").status_code == 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1998-05-01", "1998-05-01T00:00:00Z"),
        ("1998-05-01T10:30:00+02:00", "1998-05-01T10:30:00+02:00"),
        ("1998", None),
        ("1998-04-01/1999-05-02", None),
        ("", None),
        ("spring of 1962", None),
    ],
)
def test_dates(text: str, expected: str | None) -> None:
    found = _dates(text)
    assert found["datetime"] == expected
    assert expected or found["start_datetime"] < found["end_datetime"]
    assert found.get("start_datetime", "1998")[:4] == ("1998" if text[:4] == "1998" else "1850")


def test_a_year_that_the_server_knows_is_a_date(make_service: Callable[..., TileService]) -> None:
    """From the setting or the file's name: programs show it, and do not ask for all years since 1850."""
    service = make_service(year=1951)
    with TestClient(create_app(service.settings, service)) as client:
        properties = client.get("/item.json").json()["properties"]
        assert properties["start_datetime"] == "1951-01-01T00:00:00Z"
        assert properties["end_datetime"] == "1951-12-31T23:59:59Z"
        feature = client.get("/old/imagery.geojson").json()["properties"]
        assert (feature["start_date"], feature["end_date"]) == ("1951", "1951")
        entry = ET.fromstring(client.get("/old/josm.xml").content)
        assert "1951" in [element.text for element in entry.iter() if element.tag.endswith("}date")]
        extent = client.get("/collections/old").json()["extent"]
        assert extent["temporal"]["interval"] == [["1951-01-01T00:00:00Z", "1951-12-31T00:00:00Z"]]
        for document in (
            "/WMTSCapabilities.xml",
            "/wms?SERVICE=WMS&REQUEST=GetCapabilities",
            "/old/layer.qlr",
        ):
            assert "taken 1951" in client.get(document).text
