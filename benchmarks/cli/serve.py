"""`bench serve`: runs and reports in a browser, and detectors that answer for a photo dropped there."""

from __future__ import annotations

import errno
import socket
from importlib.util import find_spec
from pathlib import Path

import uvicorn

from benchmarks.serve.app import create_app
from benchmarks.serve.index import RunIndex
from benchmarks.serve.limits import Limits
from benchmarks.serve.security import is_loopback
from benchmarks.zoo.members import is_zoo, member_of
from forge.core.compute import choose_device
from forge.core.errors import InputError, quoted
from forge.core.registry import is_file_reference
from forge.generators import GENERATORS

# module -> package of the extra: the names under which they are imported and installed differ
_NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def serve(
    port: int,
    host: str,
    detector: list[str] | None,
    generator: list[str] | None,
    max_mb: float,
    max_megapixels: float,
    store: Path,
    reports: Path,
    device: str,
) -> None:
    """Show all runs and reports in a browser, and try a detector on a photo; for this machine alone unless --host."""
    check_extra()
    # Before detectors are loaded, which takes seconds: a port that is taken is said at once.
    listening = listen(host, port)
    try:
        # closed also where a detector cannot be loaded
        _serve(listening, host, detector or [], generator or [], (max_mb, max_megapixels), store, reports, device)
    finally:
        listening.close()


def _serve(
    listening: socket.socket,
    host: str,
    detectors: list[str],
    generators: list[str],
    sizes: tuple[float, float],
    store: Path,
    reports: Path,
    device: str,
) -> None:
    for reference in generators:
        # `load` runs the file and keeps its class under the name that the detector's card holds
        GENERATORS.load(reference)  # a discriminator from a file is built only if its file was named
    classes = [name for name in detectors if is_file_reference(name)]
    folders = [
        member_of(name, "detector").check().folder if is_zoo(name) else Path(name)
        for name in detectors
        if not is_file_reference(name)
    ]
    index = RunIndex(reports, store, folders=folders, classes=classes)
    limits = Limits(bytes=round(1e6 * sizes[0]), pixels=round(1e6 * sizes[1]))
    app = create_app(index, host=host, limits=limits, device=choose_device(device))
    ready = next((choice for choice in index.choices() if choice.ready), None)  # the one that the page preselects
    if ready:
        app.state.queue.warm(ready)
    port = listening.getsockname()[1]
    # An IPv6 address stands in brackets in a URL. Flushed: a script that started this waits for the line.
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}/   (Ctrl-C stops it)", flush=True)
    if not is_loopback(host):
        print("Everybody in the network who reaches this machine can see these reports and ask these detectors.")
    # No access log: who read which page is not written down. Three seconds for answers under way.
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
    )
    try:
        # the socket is bound already: port 0 has its number, and errors were told in one sentence
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        print("stopped")


def check_extra() -> None:
    """Refuse to start without what the server needs.

    Raises:
        InputError: names what is missing and how to install it.
    """
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise InputError(
            f"bench serve needs {', '.join(missing)}; install what it needs: pip install -e '.[serve]', or "
            f"pip install {' '.join(_NEEDED.values())}"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: address or name of this machine.
        port: 0 takes a free one.

    Raises:
        InputError: the port is taken or not allowed, or the host is not this machine.
    """
    try:
        # the family, IPv4 or IPv6, follows from the address
        family, socket_type, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(f"--host {quoted(host)} is not known as an address: {error.strerror}") from error
    listening = socket.socket(family, socket_type, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left can be taken again
    try:
        listening.bind(address)
        listening.listen(128)  # connections that wait to be accepted; the queue refuses what is too much
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is taken by another program; choose one with --port, or --port 0 for a free one"
            ) from error
        if error.errno == errno.EACCES:
            # ports below 1024 belong to root
            raise InputError(f"port {port} is not allowed here; choose one from 1024 on with --port") from error
        raise InputError(f"--host {host} --port {port} cannot be listened at: {error.strerror}") from error
    return listening
