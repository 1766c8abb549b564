"""The connection to a cluster: one of this machine's own, or one that runs elsewhere."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
import ray
from ray._private import ray_constants, services, worker
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated.gcs_service_pb2 import GetClusterIdRequest
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.exceptions import AuthenticationError
from ray.serve._private import replica

from tileserver.errors import ClusterError

# Starts a cluster of this machine for one command.
LOCAL: Final = "local"
# Where Ray keeps what its processes hand each other; more is spilled to disk.
_OBJECT_STORE_BYTES: Final = 300 * 2**20
# How long a cluster may take to answer.
_ANSWER_S: Final = 3.0
_CONNECTS_S: Final = 1.0


@contextmanager
def connected(address: str, cpus: float) -> Iterator[None]:
    """Connect this process to a cluster for the duration of the block.

    Args:
        address: `local`, or HOST:PORT of the cluster's head.
        cpus: processors that the command's processes ask for; a local cluster offers as many, whether or not this
            machine has them.

    Raises:
        ClusterError: the cluster does not answer.
    """
    if address != LOCAL:
        _check_answers(address)
    # Nothing is reported to Ray's makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Devices are chosen by --device; a worker without a share of a GPU must not hide it either.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        if address == LOCAL:
            _stay_on_loopback()
            ray.init(
                address=LOCAL,
                num_cpus=math.ceil(cpus),
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                runtime_env={"worker_process_setup_hook": f"{__name__}.keep_replicas_on_loopback"},
                logging_level="error",
                log_to_driver=False,
            )
        else:
            ray.init(address=address, logging_level="error", log_to_driver=False)
    except (AuthenticationError, RuntimeError, OSError) as error:
        raise ClusterError(f"--ray {address}: {_first_line(error)}") from error
    _keep_stdout_clean()
    try:
        yield
    finally:
        ray.shutdown()


def _stay_on_loopback() -> None:
    """Have every process of the cluster that is started next listen on the loopback interface only.

    That is what Ray does on systems where it offers no clusters of several machines, or if this variable says so. Ray
    replaces any other way to name the address 127.0.0.1 by that of the machine.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    # The variable was read when Ray was imported.
    ray_constants.ENABLE_RAY_CLUSTER = False


def _keep_stdout_clean() -> None:
    """Have Ray say on stderr that a worker has died: it would print it among the lines of --json."""
    say = worker.print_to_stdstream

    def say_on_stderr(data: dict[str, Any], *more: Any, **named: Any) -> None:
        say({**data, "is_err": True}, *more, **named)

    worker.print_to_stdstream = say_on_stderr


def keep_replicas_on_loopback() -> None:
    """Have the server that each replica of Ray Serve runs for the others listen on the loopback interface only.

    Ray binds it to all interfaces and has no setting for it; so each worker of a local cluster calls this first.
    """
    bind = replica.add_port_to_grpc_server

    def bind_to_loopback(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = bind_to_loopback


def _check_answers(address: str) -> None:
    """Check that the head of a cluster answers, and takes this process's token: Ray itself would try for minutes.

    Raises:
        ClusterError: the address is malformed, does not answer, or asks for another token.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ClusterError(
            f"--ray {address} is neither local nor an address: give HOST:PORT of the head node"
        )
    own = services.resolve_ip_for_localhost(host)
    if own != host and not _listens(own, int(port)):
        # Ray would replace 127.0.0.1 by the machine's address, where this head is not to be found.
        _stay_on_loopback()
        own = host
    channel = init_grpc_channel(f"{own}:{port}")
    try:
        NodeInfoGcsServiceStub(channel).GetClusterId(
            GetClusterIdRequest(), timeout=_ANSWER_S, wait_for_ready=True
        )
    except grpc.RpcError as error:
        raise ClusterError(f"--ray {address} {_refusal(error)}") from error
    finally:
        channel.close()


def _refusal(error: grpc.RpcError) -> str:
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return "asks for a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what `ray get-auth-token` prints there"
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return "is not the head of a cluster: give its port, 6379 unless `ray start` was told another one"
    return "does not answer: check the address, and that `ray start --head` runs there"


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECTS_S).close()
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
