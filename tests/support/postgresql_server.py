"""A PostgreSQL server of the tests' own, from the binaries that are installed."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

_INSTALLED = Path("/usr/lib/postgresql")
_USER = "lockstep"
_START_TIMEOUT_S = 60


def binaries() -> Path | None:
    """The folder of the newest `postgres` and `initdb`; None where there is none."""
    newest_first = sorted(_INSTALLED.glob("*/bin/initdb"), key=_major, reverse=True)
    on_path = shutil.which("initdb")
    found = [*newest_first, *([Path(on_path)] if on_path else [])]
    return found[0].parent if found else None


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a fresh server on a loopback port; it is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="lockstep-postgresql-") as name:
        data, who = Path(name), _unprivileged()
        if who:
            shutil.chown(data, who["user"], who["group"])
        _initialise(folder, data, who)
        port = _free_port()
        server = _start(folder, data, port, who)
        try:
            url = f"postgresql://{_USER}@127.0.0.1:{port}/postgres"
            _wait_for(url, server, data)
            yield url
        finally:
            server.send_signal(2)  # SIGINT: close connections, then stop
            server.wait(30)


@contextlib.contextmanager
def fresh_database(server_url: str, name: str) -> Iterator[str]:
    """The URL of a database that exists only inside the block."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        yield server_url.replace("postgresql://", "postgresql+psycopg://").replace(
            "/postgres", f"/{name}"
        )
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _initialise(folder: Path, data: Path, who: dict[str, Any]) -> None:
    # A linguistic order, so that only a column's own collation can make ids sort as bytes.
    locale = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
    options = ["-D", str(data / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(
        [folder / "initdb", *options, *locale], check=True, capture_output=True, cwd=data, **who
    )


def _start(folder: Path, data: Path, port: int, who: dict[str, Any]) -> subprocess.Popen[bytes]:
    options = ["-D", str(data / "data"), "-h", "127.0.0.1", "-p", str(port), "-k", str(data), "-F"]
    with (data / "log").open("wb") as log:
        return subprocess.Popen(
            [folder / "postgres", *options], stdout=log, stderr=log, cwd=data, **who
        )


def _wait_for(url: str, server: subprocess.Popen[bytes], data: Path) -> None:
    until = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError((data / "log").read_text()) from None
            time.sleep(0.1)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _major(path: Path) -> int:
    name = path.parent.parent.name
    return int(name) if name.isdigit() else 0
