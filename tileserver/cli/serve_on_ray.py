"""`orthosharp serve --ray`: the maps on a cluster, until Ctrl+C."""

from __future__ import annotations

from collections.abc import Callable

import click

from sr_model import SrModelError
from tileserver.cli.listening import listen
from tileserver.cli.logs import in_json, say
from tileserver.cli.ray_options import need_ray, with_absolute_paths
from tileserver.cli.serve import address_of
from tileserver.errors import StartError
from tileserver.settings import Settings


def start_on_ray(
    load: Callable[[], dict[str, Settings]],
    *,
    access_log: bool,
    ray_address: str,
    replicas: int,
    networks: int,
) -> None:
    """Serve with replicas on a cluster until Ctrl+C; SIGHUP deploys the maps anew.

    Args:
        load: gives the settings of every map, the default first; called again at each SIGHUP.
        access_log: whether the replicas log every request, where Ray keeps its logs.
        ray_address: `local`, or HOST:PORT of the cluster's head.
        replicas: processes that read and encode.
        networks: processes with networks, at most.

    Raises:
        StartError, sr_model.SrModelError: a map cannot be served, or the cluster does not answer.
    """
    need_ray()
    from tileserver.cluster.serving import served_on_ray, wait_for_signal

    def load_maps() -> dict[str, Settings]:
        return {name: with_absolute_paths(settings) for name, settings in load().items()}

    maps = load_maps()
    settings = next(iter(maps.values()))
    # Ray's proxy listens: this finds out at once whether it will be able to.
    with listen(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
    say("Starting on the cluster ...")
    with served_on_ray(ray_address, maps, port, networks, replicas, access_log=access_log) as deploy:
        address = address_of(settings.host, port)
        say(f"orthosharp serves {', '.join(maps)} on the cluster", address=address)
        if not in_json():
            others = list(maps)[1:]
            lines = [f"\n  Open        {address}/", *(f"  and         {address}/{name}/" for name in others)]
            click.echo("\n".join([*lines, "\n  Press Ctrl+C to stop."]))

        def redeploy() -> None:
            try:
                deploy(load_maps())
            except (StartError, SrModelError) as error:
                say(f"the maps stay as they were: {error}", "warning")

        wait_for_signal(redeploy)
