"""The socket that the server accepts connections from."""

from __future__ import annotations

import socket

from tileserver.errors import SettingsError


def listen(host: str, port: int) -> socket.socket:
    """Bind the port before anything slow happens.

    Raises:
        SettingsError: the port is in use, or the address is not one of this machine.
    """
    if not host:
        raise SettingsError(
            "--host is empty: give an address such as 127.0.0.1, or 0.0.0.0 for all interfaces"
        )
    listener = socket.socket(family_of(host), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another --port, or --port 0 for a free one"
        ) from error
    return listener


def family_of(host: str) -> socket.AddressFamily:
    """IPv6 or IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
