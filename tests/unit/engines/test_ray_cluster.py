"""Joining Ray: what cannot be joined, and how many workers fit. No Ray is started."""

import socket
import sys
from dataclasses import dataclass, replace
from typing import Any

import pytest

from lockstep.errors import InvalidInput, InvalidSetting, LockstepError, WorkersUnavailable
from lockstep_indexer.engines.ray import by_ray
from lockstep_indexer.engines.ray_cluster import Cluster, RayOptions, Shape
from lockstep_indexer.engines.ray_pool import require_same
from lockstep_indexer.engines.ray_worker import Loaded

CPU_NODES = ({"CPU": 8.0}, {"CPU": 16.0}, {"CPU": 0.0})
GPU_NODES = ({"CPU": 4.0}, {"CPU": 64.0, "GPU": 8.0})


@dataclass(frozen=True)
class Nodes:
    """What Ray tells of its machines."""

    resources: tuple[dict[str, float], ...]

    def nodes(self) -> list[dict[str, Any]]:
        alive = [{"Alive": True, "Resources": each} for each in self.resources]
        return [*alive, {"Alive": False, "Resources": {"CPU": 100.0, "GPU": 100.0}}]


def shape(
    resources: tuple[dict[str, float], ...], workers: int | None = None, device: str = ""
) -> Shape:
    return Cluster(Nodes(resources), ours=False).shape(workers, device)


@pytest.mark.parametrize(
    ("resources", "workers", "device", "expected"),
    [
        (CPU_NODES, None, "", Shape(6, 4, on_card=False)),
        (CPU_NODES, 2, "", Shape(2, 8, on_card=False)),
        (CPU_NODES, 24, "cpu", Shape(24, 1, on_card=False)),
        (({"CPU": 2.0},), None, "", Shape(1, 2, on_card=False)),
        (GPU_NODES, None, "", Shape(8, 1, on_card=True)),
        (GPU_NODES, 3, "cuda", Shape(3, 1, on_card=True)),
        (GPU_NODES, None, "cpu", Shape(17, 4, on_card=False)),
    ],
)
def test_workers_have_a_card_each_or_some_cores(
    resources: tuple[dict[str, float], ...], workers: int | None, device: str, expected: Shape
) -> None:
    assert shape(resources, workers, device) == expected


@pytest.mark.parametrize(("resources", "workers"), [(CPU_NODES, 25), (GPU_NODES, 9), ((), None)])
def test_more_workers_than_there_is_room_for_are_refused(
    resources: tuple[dict[str, float], ...], workers: int | None
) -> None:
    with pytest.raises(InvalidInput, match=f"{workers or 1} Ray workers"):
        shape(resources, workers)


def test_a_device_that_the_cluster_lacks_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="has no GPU"):
        shape(CPU_NODES, device="cuda")


@pytest.mark.parametrize("address", ["http://ray:10001", "ray://", "cluster", "host:notaport"])
def test_what_is_no_address_is_refused(address: str) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    with pytest.raises(InvalidSetting, match="expected local, auto"):
        Cluster.connect(address)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_told_of(scheme: str) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(WorkersUnavailable, match="cannot be joined: Connection refused"):
            Cluster.connect(f"{scheme}127.0.0.1:{taken.getsockname()[1]}")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LockstepError, match="lockstep\\[ray\\]"):
        by_ray(RayOptions())


def test_workers_that_would_encode_otherwise_are_refused() -> None:
    first = Loaded(
        "one",
        1,
        "packed, fp16",
        "",
        by_tokens_on_card=True,
        in_fp8=False,
        packages={"torch": "2.13.0"},
    )
    require_same(first, replace(first, node="two", process=2))
    with pytest.raises(WorkersUnavailable, match=r"on two encodes by another route.*: padded; exp"):
        require_same(first, replace(first, node="two", route="padded"))
    with pytest.raises(
        WorkersUnavailable, match=r"on two has other packages.*: torch 2\.12\.0; exp"
    ):
        require_same(first, replace(first, node="two", packages={"torch": "2.12.0"}))
