"""The two applications on Ray Serve, as `serve deploy` and KubeRay name them by `import_path`.

`networks` has the networks, `maps` the web application in front of them. They are two, so that new weights, which are
a matter of the maps, restart no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from tileserver.archives.readers import open_seeded
from tileserver.cluster.maps_replica import open_maps
from tileserver.cluster.network_replica import NetworkReplica
from tileserver.errors import SettingsError
from tileserver.render.networks import OpenRestorer, open_restorer
from tileserver.service import identify
from tileserver.settings import Settings

NETWORKS: Final = "orthosharp-networks"
MAPS: Final = "orthosharp"
# Owners of keys are strict: where an owner is busy, its calls wait, and no other replica restores the same.
_OWNERS: Final = RequestRouterConfig(
    request_router_class="ray.serve.experimental.consistent_hash_router:ConsistentHashRouter",
    request_router_kwargs={"num_fallback_replicas": 0},
)
# The largest batch of a network of its own choice.
_LARGEST_BATCH: Final = 8


class NetworksArgs(BaseModel):
    """Arguments of the application `networks`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(default=1, ge=1, description="Processes with networks, at least.")
    most_replicas: int | None = Field(default=None, ge=1, description="At most, by the length of the queue.")
    gpus: float = Field(default=0.0, ge=0, description="Share of a GPU for each; 0 for none.")
    cpus: float = Field(default=1.0, ge=0, description="Processors for each.")
    batch: int | None = Field(
        default=None, ge=1, le=64, description="Windows in one pass; the network's choice if unset."
    )
    batch_wait_s: float = Field(default=0.01, ge=0, description="How long a batch waits for more windows.")
    queue_size: int = Field(
        default=64, ge=1, description="Windows that may wait in each of the maps' replicas; else 503."
    )

    @property
    def ongoing(self) -> int:
        """Windows in a replica at the same time: while one batch is in the network, the next is put together."""
        return 2 * (self.batch or _LARGEST_BATCH)


class MapsArgs(BaseModel):
    """Arguments of the application `maps`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    maps: dict[str, dict[str, Any]] = Field(
        description="Settings of each map by its name, the default first."
    )
    settings: dict[str, Any] = Field(default={}, description="Settings of the server, as in orthosharp.toml.")
    replicas: int = Field(default=2, ge=1, description="Processes that read photographs and encode tiles.")
    cpus: float = Field(default=1.0, ge=0, description="Processors for each.")


def networks(args: dict[str, Any]) -> Application:
    """Build the application `networks` from the `args` of a configuration; see `NetworksArgs`.

    Raises:
        SettingsError: an argument is invalid.
    """
    with _refused_as("networks"):
        checked = NetworksArgs(**args)
    return networks_application(checked)


def maps(args: dict[str, Any]) -> Application:
    """Build the application `maps` from the `args` of a configuration; see `MapsArgs`.

    Raises:
        StartError, sr_model.SrModelError: an argument or a setting is invalid, or a map cannot be served.
    """
    with _refused_as("maps"):
        checked = MapsArgs(**args)
    found: dict[str, Settings] = {}
    for name, own in checked.maps.items():
        with _refused_as(f"maps.{name}"):
            found[name] = Settings(**{**checked.settings, **own})
    return maps_application(found, checked.replicas, checked.cpus)


@contextmanager
def _refused_as(place: str) -> Iterator[None]:
    """Raise what pydantic refuses as an error of ours, with its place in the configuration."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{place}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def networks_application(args: NetworksArgs, open_restorer: OpenRestorer = open_restorer) -> Application:
    """Build the application `networks` with another way to open a network."""
    most = max(args.replicas, args.most_replicas or args.replicas)
    scaling: dict[str, Any] = {"num_replicas": args.replicas}
    if most > args.replicas:
        scaling = {
            "autoscaling_config": {
                "min_replicas": args.replicas,
                "max_replicas": most,
                "target_ongoing_requests": max(1, args.ongoing // 2),
            }
        }
    deployment = serve.deployment(
        NetworkReplica,
        name="networks",
        max_ongoing_requests=args.ongoing,
        max_queued_requests=args.queue_size,
        ray_actor_options={"num_cpus": args.cpus, "num_gpus": args.gpus},
        request_router_config=_OWNERS,
        # What is in the network is finished.
        graceful_shutdown_timeout_s=60.0,
        **scaling,
    )
    return deployment.bind(open_restorer, args.batch, args.batch_wait_s)


def maps_application(found: Mapping[str, Settings], replicas: int, cpus: float) -> Application:
    """Build the application of maps whose settings are known.

    Raises:
        StartError, sr_model.SrModelError: a map cannot be served.
    """
    opened = dict(found)
    settings = next(iter(opened.values()))
    # What every replica has to make its tiles of; an archive's tiles are made.
    wanted = {name: identify(one) for name, one in opened.items() if not _is_archive(one)}

    def build() -> Any:
        # Ray calls this on its event loop, where nothing may wait for a network.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(open_maps, opened, wanted, NETWORKS).result()

    deployment = serve.deployment(
        serve.ingress(build)(),
        name="maps",
        num_replicas=replicas,
        # The application itself refuses what is too much, with Retry-After; so more than that has to reach it.
        max_ongoing_requests=2 * settings.max_requests,
        max_queued_requests=settings.max_requests,
        ray_actor_options={"num_cpus": cpus},
        graceful_shutdown_timeout_s=settings.deadline_s + 5,
    )
    return deployment.bind()


def _is_archive(settings: Settings) -> bool:
    archive = open_seeded(settings.source) if isinstance(settings.source, str) else None
    if archive is None:
        return False
    archive.close()
    return True
