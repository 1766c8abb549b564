"""The deployment in front: the web application with its caches, whose networks are other replicas."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from tileserver.archives.identity import MapIdentity
from tileserver.cluster.membership import check_identity
from tileserver.cluster.remote_network import Answer, opens_on
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.forwarded import TRUSTED_BY_DEFAULT, ForwardedAddress
from tileserver.web.maps import Generation, ReloadableMaps, open_generation
from tileserver.web.request_id import with_request_ids, without_request_id
from tileserver.web.telemetry import export_spans


class ServeTransport:
    """A `Transport` to the replicas of a deployment.

    Args:
        handle: of the deployment, whose router sends calls with the same session to the same replica.
    """

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    def send(self, method: str, key: str, *arguments: Any) -> Answer:
        """See `Transport.send`."""
        answer: Answer = self._handle.options(method_name=method, session_id=key).remote(*arguments)
        return answer


def open_maps(maps: Mapping[str, Settings], wanted: Mapping[str, MapIdentity], networks: str) -> Any:
    """Return the ASGI application of a replica.

    Args:
        maps: settings of each map, the default first.
        wanted: what the tiles of each map have to be made of; without the maps of archives.
        networks: name of the application that has the networks.

    Raises:
        ClusterError: this host would make other tiles than the others.
        StartError, sr_model.SrModelError: a map cannot be served.
    """
    settings = next(iter(maps.values()))
    if settings.telemetry:
        export_spans()
    transport = ServeTransport(serve.get_app_handle(networks))
    shared, admission = Shared(settings, opens_on(transport)), Admission(settings)

    def reopen() -> Generation:
        """Open the maps; a replaced photograph is another one, until the maps are deployed again."""
        generation = open_generation(maps, shared, admission)
        try:
            for name, app in generation.apps.items():
                if name in wanted:
                    check_identity(app.state.service.identity, wanted[name], name if len(maps) > 1 else "")
        except BaseException:
            generation.close()
            raise
        return generation

    application = ReloadableMaps(reopen(), shared, admission, reopen)
    proxies = os.environ.get("FORWARDED_ALLOW_IPS", TRUSTED_BY_DEFAULT)
    with_ids = with_request_ids(ForwardedAddress(application, proxies, root_path=settings.root_path))
    # Ray's proxy adds the id itself.
    return without_request_id(with_ids)
