"""deploy/nginx/password.conf, run by the real nginx in front of a real server with two maps."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import free_port
from nginx_proxy import NGINX, Proxy, configuration, maps_on, running_nginx

from tileserver.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="Debian: apt-get install nginx-light"),
]

PASSWORD = "Basic " + base64.b64encode(b"anna:correct horse").decode()
TOKEN = "choose-a-long-token"


@pytest.fixture(scope="module")
def proxy(
    photo: Path, new_photo: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    maps = {
        name: Settings(source=str(path), weights=tiny_weights, runtime="openvino", name=name)
        for name, path in (("y1998", photo), ("y1975", new_photo))
    }
    (folder / "htpasswd").write_text("anna:{PLAIN}correct horse\n")
    with socket.create_server(("127.0.0.1", 0)) as listener, maps_on(listener, maps) as tiles:
        upstream = listener.getsockname()[1]
        text = configuration(
            "password.conf",
            folder,
            (
                (r"server 127\.0\.0\.1:8000;", f"server 127.0.0.1:{upstream};"),
                (r"listen 443 ssl;", f"listen 127.0.0.1:{port};"),
                (r" *ssl_certificate\w* .*\n", ""),
                (r"/etc/nginx/orthosharp.htpasswd", f"{folder}/htpasswd"),
                (r"allow 127\.0\.0\.1;", ""),
            ),
        )
        with running_nginx(folder, port, text):
            yield Proxy(port, tiles)


def test_public_maps_are_open_and_cached(proxy: Proxy) -> None:
    for path in (f"/{proxy.tiles['y1998']}", f"/y1998/{proxy.tiles['y1998']}"):
        first, second = proxy.get(path), proxy.get(path)
        assert (first.status, second.status) == (200, 200)
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
        assert first.body == second.body
        assert first.headers["etag"] == second.headers["etag"]
        again = proxy.get(path, **{"If-None-Match": first.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    for path in ("/", "/tilejson.json", "/y1998/config.json"):
        for _ in range(2):
            answer = proxy.get(path)
            assert (answer.status, answer.headers["x-cache"]) == (200, "MISS"), path


def test_a_private_map_asks_in_whatever_way_it_is_spelt(proxy: Proxy) -> None:
    tile = proxy.tiles["y1975"]
    for path in (
        "/y1975",
        "/y1975/",
        "/y1975/config.json",
        f"/y1975/{tile}",
        f"/y1975/{tile}?token=",
        f"/y1975/{tile}?token=off",
        f"/y1975/{tile}?x={TOKEN}",
        f"//y1975/{tile}",
        f"/./y1975/{tile}",
        f"/y1998/../y1975/{tile}",
        f"/%791975/{tile}",
        f"/y1975%2F{tile}",
        f"/y1998/..%2Fy1975/{tile}",
        f"/y1975//{tile}",
    ):
        answer = proxy.get(path)
        assert answer.status in (400, 401), path
        assert not answer.body.startswith(b"\x89PNG"), path
    # Spelt so that neither program takes it for the map.
    for path in (f"/%25791975/{tile}", f"/Y1975/{tile}", f"/y1975;/{tile}"):
        assert proxy.get(path).status == 404, path
    assert "basic" in proxy.get("/y1975/").headers["www-authenticate"].lower()


def test_a_password_or_a_token_opens_it_and_nothing_is_cached(proxy: Proxy) -> None:
    path = f"/y1975/{proxy.tiles['y1975']}"
    for _ in range(2):
        by_password = proxy.get(path, Authorization=PASSWORD)
        by_token = proxy.get(f"{path}?token={TOKEN}")
        for answer in (by_password, by_token):
            assert answer.status == 200
            assert answer.headers["cache-control"] == "private, max-age=600"
            assert "x-cache" not in answer.headers
        assert by_password.body == by_token.body
        assert proxy.get(path).status == 401, "seen by another, and still not for everyone"
    wrong = "Basic " + base64.b64encode(b"anna:wrong").decode()
    assert proxy.get(path, Authorization=wrong).status == 401
    assert (
        proxy.get("/y1975/config.json", Authorization=PASSWORD).headers["cache-control"]
        == "private, no-cache"
    )
    missing = proxy.get("/y1975/tiles/29/0/0.png", Authorization=PASSWORD)
    assert (missing.status, missing.headers["cache-control"]) == (404, "no-store")


def test_documents_have_the_address_of_the_proxy(proxy: Proxy) -> None:
    lies = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"}
    for path in ("/tilejson.json", "/y1975/tilejson.json"):
        text = proxy.get(path, Authorization=PASSWORD, **lies).body.decode()
        assert "evil" not in text
        assert '"http://maps.example/' in text


def test_figures_are_not_for_visitors(proxy: Proxy) -> None:
    for name in ("", "/y1998", "/y1975"):
        assert proxy.get(f"{name}/metrics").status in (401, 403)
        assert proxy.get(f"{name}/readyz").status in (401, 403)
