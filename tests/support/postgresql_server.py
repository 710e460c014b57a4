"""A PostgreSQL server of the tests' own, from the binaries that are installed."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
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


class Server:
    """A server on a loopback port; its data outlives `stop` and `kill`.

    Nothing is synced to disk: what the kernel has survives the death of every process, and a power
    cut is not what these tests are about.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder, self._data, self._who = folder, data, _unprivileged()
        if self._who:
            shutil.chown(data, self._who["user"], self._who["group"])
        _initialise(folder, data, self._who)
        self._port = _free_port()
        self.url = f"postgresql://{_USER}@127.0.0.1:{self._port}/postgres"
        self.start()

    def start(self) -> None:
        """Start, or start again with what was committed; returns when it answers."""
        self._process = _start(self._folder, self._data, self._port, self._who)
        _wait_for(self.url, self._process, self._data)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop as `pg_ctl stop` does: SIGINT is its fast mode, SIGQUIT its immediate one."""
        self._process.send_signal(how)
        self._process.wait(30)

    def kill(self) -> None:
        """Kill -9 of every process it has."""
        mother = psutil.Process(self._process.pid)
        processes = [mother, *mother.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(30)
        psutil.wait_procs(processes, timeout=30)


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """A fresh server that tests may stop, kill and start; it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="lockstep-postgresql-") as name:
        server = Server(folder, Path(name))
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """The URL of a fresh server that runs until the end."""
    with running_server(folder) as server:
        yield server.url


@contextlib.contextmanager
def fresh_database(server_url: str, name: str) -> Iterator[str]:
    """The URL of a database that exists only inside the block."""
    _execute(server_url, f'CREATE DATABASE "{name}"')
    yield server_url.replace("postgresql://", "postgresql+psycopg://").replace(
        "/postgres", f"/{name}"
    )
    _execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(server_url: str, statement: str) -> None:
    # A connection each: the server may be restarted in between.
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def _initialise(folder: Path, data: Path, who: dict[str, Any]) -> None:
    # A linguistic order, so that only a column's own collation can make ids sort as bytes.
    locale = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
    options = ["-D", str(data / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(
        [folder / "initdb", *options, *locale], check=True, capture_output=True, cwd=data, **who
    )


def _start(folder: Path, data: Path, port: int, who: dict[str, Any]) -> subprocess.Popen[bytes]:
    options = ["-D", str(data / "data"), "-h", "127.0.0.1", "-p", str(port), "-k", str(data), "-F"]
    with (data / "log").open("ab") as log:
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
