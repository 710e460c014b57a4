"""The Ray cluster that a build runs on: one that is there, or one of this machine's own."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lockstep.errors import InvalidInput, InvalidSetting, LockstepError, WorkersUnavailable

LOCAL = "local"
AUTO = "auto"
_CONNECT_S = 10
_OBJECT_STORE_BYTES = 1 << 30  # of a Ray that is started here; what is more goes to disk
_CORES = 4  # of a worker without a card; threads of more gain little in one process


@dataclass(frozen=True)
class RayOptions:
    """Where Ray is, and how many workers a build takes of it."""

    address: str = LOCAL  # or auto, host:port, ray://host:port
    workers: int | None = None  # None: as many as there is room for

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; expected 1 or more")


@dataclass(frozen=True)
class Shape:
    """How many workers there are, and what each of them has."""

    workers: int
    cores: int
    on_card: bool

    def __str__(self) -> str:
        each = "a card" if self.on_card else f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"{self.workers} Ray worker{'s' if self.workers > 1 else ''} of {each}"


class Cluster:
    """Close it: what was started here ends, a cluster that was there goes on."""

    def __init__(self, ray: Any, *, ours: bool) -> None:
        self.ray = ray
        self._ours = ours

    @classmethod
    def connect(cls, address: str) -> "Cluster":
        """A Ray that this process has joined already is used as it is.

        Raises WorkersUnavailable, InvalidSetting for an address that is none, or LockstepError
        where Ray is not installed.
        """
        ray = library()
        address = address or LOCAL
        if ray.is_initialized():
            return cls(ray, ours=False)
        _require_answer(address)
        try:
            with _quietly(ray):
                ray.init(**_arguments(address))
        except Exception as error:  # Ray has no class of its own for what keeps it from starting
            with suppress(Exception):
                ray.shutdown()
            raise _unreachable(address, first_line(error)) from error
        return cls(ray, ours=True)

    def shape(self, workers: int | None, device: str) -> Shape:
        """One worker for each card; without cards one for some cores. `device` is the setting.

        Raises InvalidInput where there is no room for as many workers, InvalidSetting where the
        device asks for cards and there are none.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cards = sum(int(node.get("GPU", 0)) for node in nodes)
        if device.startswith("cuda") and not cards:
            raise InvalidSetting(
                f"The device is '{device}', but the Ray cluster has no GPU.",
                next_step="Start Ray with GPUs, or leave the setting `device` empty.",
            )
        if cards and (not device or device.startswith("cuda")):
            return Shape(_fitting(workers, cards, "GPUs"), 1, on_card=True)
        return _of_cores(workers, [int(node.get("CPU", 0)) for node in nodes])

    def close(self) -> None:
        if self._ours:
            self.ray.shutdown()


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _of_cores(workers: int | None, nodes: list[int]) -> Shape:
    usable = [cores for cores in nodes if cores]
    total = sum(usable)
    least = min(usable, default=1)
    each = min(least, max(1, total // workers) if workers else _CORES)
    return Shape(_fitting(workers, sum(cores // each for cores in usable), "cores"), each, False)


def _fitting(workers: int | None, room: int, what: str) -> int:
    if not room or (workers or 0) > room:
        raise InvalidInput(
            f"{workers or 1} Ray workers are to be started; the cluster has {what} for {room}.",
            next_step="Give --workers a smaller number, or the cluster more machines.",
        )
    return workers or room


def library() -> Any:
    """The package ray. Raises LockstepError where it is not installed."""
    # Ray would send figures on its use over the network otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise LockstepError(
            f"The engine ray needs the package ray: {error}.",
            next_step="Run `pip install 'lockstep[ray]'`.",
        ) from error
    return ray


def _arguments(address: str) -> Mapping[str, Any]:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address != LOCAL:
        return {"address": address, **quiet}
    local = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    return {"address": LOCAL, **local, **quiet}


def _require_answer(address: str) -> None:
    """Ray itself would try for minutes, and fill the terminal."""
    if address in (LOCAL, AUTO):
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("", "ray") or not host or not port:
        raise InvalidSetting(
            f"'{address}' is no address of a Ray cluster; expected local, auto, HOST:PORT or "
            "ray://HOST:PORT.",
            next_step="Correct --ray-address, or the variable RAY_ADDRESS.",
        )
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error


def _unreachable(address: str, why: str) -> WorkersUnavailable:
    if address == LOCAL:
        return WorkersUnavailable(
            f"Ray does not start on this machine: {why}",
            next_step="Check the free memory and disk space, or build without --engine ray.",
        )
    return WorkersUnavailable(
        f"The Ray cluster at '{address}' cannot be joined: {why}",
        next_step="Check that it runs (`ray status` there), and that Ray and Python are of the "
        "same versions here and there.",
    )


@contextmanager
def _quietly(ray: Any) -> Iterator[None]:
    """Ray's messages would mix with the results on stdout, and its SIGTERM handler with ours."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if in_main else None
    try:
        yield
    finally:
        with suppress(AttributeError):  # there is no public switch
            ray._private.worker._worker_logs_enabled = False
        if in_main:
            signal.signal(signal.SIGTERM, handler)
