"""The embedded engine under faults: processes killed, files lost, a second owner, a full disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psutil
import pytest

import lockstep.store.edge
from lockstep.errors import (
    CollectionDamaged,
    CollectionInUse,
    ManifestDamaged,
    StorageFull,
    StoreUnavailable,
)
from lockstep.store import edge_collection
from lockstep.store.edge import EdgeStore
from lockstep.store.edge_process import WorkerProcess
from lockstep.store.port import CollectionSchema, DenseBranch, Points, SparseVector

DIM = 32
SCHEMA = CollectionSchema(dense_dim=DIM)
SOURCE = str(Path(lockstep.store.edge.__file__).parents[2])
NAME = "docs--v0001"

PRELUDE = """
import os, sys, time
from pathlib import Path
from uuid import UUID
import numpy as np
from lockstep.store.edge import EdgeStore
from lockstep.store.port import CollectionSchema, Points, SparseVector

NAME, DIM = "docs--v0001", 32
SCHEMA = CollectionSchema(dense_dim=DIM)
store = EdgeStore(Path(sys.argv[1]), command="lockstep serve")

def points(numbers, dim=DIM):
    dense = np.random.default_rng(numbers.start).normal(size=(len(numbers), dim))
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    return Points([str(UUID(int=n)) for n in numbers], dense.astype(np.float32), None,
                  [word] * len(numbers), [{"document_id": f"d{n}"} for n in numbers])

def say(text):
    print(text, flush=True)
"""


def make_points(numbers: range, *, dim: int = DIM) -> Points:
    dense = np.random.default_rng(numbers.start).normal(size=(len(numbers), dim))
    word = SparseVector(np.array([1], np.uint32), np.array([1.0], np.float32))
    return Points(
        [str(UUID(int=number)) for number in numbers],
        dense.astype(np.float32),
        None,
        [word] * len(numbers),
        [{"document_id": f"d{number}"} for number in numbers],
    )


def start(root: Path, body: str) -> "subprocess.Popen[str]":
    """Another process with the store open; what it says comes line by line."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body), str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the process ended with {process.wait()}"
    return line.strip()


def kill(process: "subprocess.Popen[str]") -> list[str]:
    """Kill it, and return what it had still said."""
    process.kill()
    assert process.stdout is not None
    with process.stdout as stdout:
        rest = stdout.read()
    process.wait()
    # A line without its end was being written; nothing was acknowledged by it.
    return [line.strip() for line in rest.splitlines(keepends=True) if line.endswith("\n")]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("the condition did not come true within a minute")
        time.sleep(0.01)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture
def store(root: Path) -> Iterator[EdgeStore]:
    opened = EdgeStore(root)
    yield opened
    opened.close()


class TestKilledProcesses:
    def test_what_an_upsert_acknowledged_survives_kill_9(
        self, root: Path, store: EdgeStore
    ) -> None:
        process = start(
            root,
            """
            store.create(NAME, SCHEMA, {})
            for number in range(0, 10**9, 100):
                store.upsert(NAME, points(range(number, number + 100)))
                say(number + 100)
            """,
        )
        said = [heard(process) for _ in range(5)]
        said += kill(process)
        acknowledged = int(said[-1])
        assert acknowledged >= 500
        assert store.count(NAME) >= acknowledged
        ids = [str(UUID(int=number)) for number in range(acknowledged)]
        assert len(store.retrieve(NAME, ids)) == acknowledged
        store.upsert(NAME, make_points(range(10)))

    @pytest.mark.slow
    def test_the_manifest_is_never_torn_and_loses_no_alias(
        self, root: Path, store: EdgeStore
    ) -> None:
        store.create("a", SCHEMA, {})
        store.create("b", SCHEMA, {})
        for round_number in range(20):
            process = start(
                root,
                """
                for number in range(10**9):
                    target = "ab"[number % 2]
                    store.set_alias("live", target)
                    store.set_metadata("a", {"number": number, "filler": "x" * 20000})
                    say(f"{number} {target}")
                """,
            )
            said = [heard(process) for _ in range(1 + round_number % 3)]
            time.sleep(0.001 * round_number)
            said += kill(process)
            number, target = said[-1].split()
            # The kill may fall after the next write and before it was said.
            stored = EdgeStore(root)
            assert stored.aliases()["live"] in {target, "ab"[(int(number) + 1) % 2]}
            assert stored.collections()["a"]["number"] in {int(number), int(number) + 1}
            stored.close()

    @pytest.mark.parametrize("at_work", [False, True], ids=["idle", "optimizing"])
    def test_a_worker_ends_with_its_parent(
        self, root: Path, store: EdgeStore, at_work: bool
    ) -> None:
        process = start(
            root,
            f"""
            store.create(NAME, SCHEMA, {{}})
            wide = CollectionSchema(dense_dim=512)
            store.create("wide", wide, {{}})
            for number in range(0, 12000, 1000):
                store.upsert("wide", points(range(number, number + 1000), 512))
            say(store.worker_pids()["wide"])
            if {at_work}:
                say("optimizing")
                store.optimize("wide")
                say("done")
            time.sleep(600)
            """,
        )
        workers = [int(heard(process))]
        folder = root / "collections" / "wide"
        if at_work:
            assert heard(process) == "optimizing"
            wait_until(lambda: (folder / "shard-copy" / "segments").exists())
            time.sleep(0.5)
            workers += [child.pid for child in psutil.Process(process.pid).children()]
            assert len(set(workers)) == 3  # two collections, and the copy
        assert is_running(workers[0])
        assert kill(process) == []  # it did not wait for the end of its work
        wait_until(lambda: not any(is_running(worker) for worker in workers))
        assert json.loads((folder / "marker.json").read_text())["shard"] == "shard"
        assert store.count("wide") == 12000
        assert not (folder / "shard-copy").exists()

    def test_the_next_call_opens_what_a_killed_worker_had(self, store: EdgeStore) -> None:
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(100)))
        for _ in range(3):
            os.kill(store.worker_pids()[NAME], signal.SIGKILL)
            wait_until(lambda: not store.worker_pids())
            assert store.count(NAME) == 100

    def test_a_call_in_flight_learns_that_its_worker_was_killed(self, store: EdgeStore) -> None:
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(100)))
        worker = store.worker_pids()[NAME]
        os.kill(worker, signal.SIGSTOP)  # so that the call is in flight when the kill comes
        threading.Timer(0.3, os.kill, (worker, signal.SIGKILL)).start()
        with pytest.raises(StoreUnavailable, match="ended during count"):
            store.count(NAME)
        assert store.count(NAME) == 100

    def test_a_worker_leaves_ctrl_c_to_its_parent(self, store: EdgeStore) -> None:
        store.create(NAME, SCHEMA, {})
        worker = store.worker_pids()[NAME]
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
        assert store.count(NAME) == 0
        assert store.worker_pids()[NAME] == worker

    def test_what_a_killed_create_left_is_swept(self, root: Path, store: EdgeStore) -> None:
        store.create("other", SCHEMA, {})
        leftover = root / "collections" / NAME
        (leftover / "shard").mkdir(parents=True)
        (leftover / "shard" / "junk").write_text("half a shard")
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(3)))
        assert store.count(NAME) == 3
        assert not (leftover / "shard" / "junk").exists()

    def test_what_a_killed_drop_left_is_swept(self, root: Path, store: EdgeStore) -> None:
        store.create("other", SCHEMA, {})
        leftover = root / "collections" / NAME
        (leftover / "shard").mkdir(parents=True)
        store.drop("never-there")
        assert not leftover.exists()
        assert store.count("other") == 0


class TestASecondProcess:
    def test_it_is_told_who_has_the_collection(self, root: Path, store: EdgeStore) -> None:
        process = start(
            root,
            """
            store.create(NAME, SCHEMA, {})
            say(os.getpid())
            time.sleep(600)
            """,
        )
        pid = int(heard(process))
        with pytest.raises(CollectionInUse) as refused:
            store.count(NAME)
        assert f"Index '{NAME}' is open in process {pid} (lockstep serve, since " in str(
            refused.value
        )
        assert "HTTP API" in refused.value.next_step
        with pytest.raises(CollectionInUse, match=str(pid)):
            store.drop(NAME)
        assert NAME in store.collections()
        kill(process)
        assert store.count(NAME) == 0

    def test_it_may_open_what_was_released(self, root: Path, store: EdgeStore) -> None:
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(4)))
        store.release(NAME)
        process = start(root, "say(store.count(NAME)); store.close()")
        assert heard(process) == "4"
        kill(process)
        assert store.count(NAME) == 4

    def test_it_may_change_other_collections_and_aliases(
        self, root: Path, store: EdgeStore
    ) -> None:
        store.create(NAME, SCHEMA, {})
        process = start(
            root,
            """
            store.create("docs--v0002", SCHEMA, {"by": "another"})
            store.set_alias("docs", "docs--v0002")
            store.close()
            say("done")
            """,
        )
        assert heard(process) == "done"
        kill(process)
        assert store.aliases() == {"docs": "docs--v0002"}
        assert store.collections() == {NAME: {}, "docs--v0002": {"by": "another"}}

    def test_two_stores_change_the_manifest_at_once(self, root: Path, store: EdgeStore) -> None:
        store.create(NAME, SCHEMA, {})
        other = EdgeStore(root)

        def write(each: EdgeStore, prefix: str) -> None:
            for number in range(25):
                each.set_alias(f"{prefix}{number}", NAME)

        writers = [
            threading.Thread(target=write, args=pair) for pair in ((store, "a"), (other, "b"))
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(store.aliases()) == 50
        other.close()


class TestOptimizingBeside:
    """Collections that take long to optimise answer and take writes meanwhile."""

    QUERY = DenseBranch(np.ones(DIM, np.float32), 3)

    @pytest.fixture(autouse=True)
    def always_beside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edge_collection, "BESIDE_POINTS", 1)

    @pytest.fixture
    def slow(self, monkeypatch: pytest.MonkeyPatch, store: EdgeStore) -> "Halted":
        """A store of 300 points; what it optimises waits for a word, once the copy is made."""
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(300)))
        return Halted(monkeypatch)

    def test_searches_and_writes_go_on_and_nothing_is_lost(
        self, root: Path, store: EdgeStore, slow: "Halted"
    ) -> None:
        with slow.optimizing(store) as failures:
            assert len(store.search(NAME, [self.QUERY])[0]) == 3
            store.upsert(NAME, make_points(range(300, 400)))
            store.upsert(NAME, make_points(range(400, 401)))
            store.delete(NAME, {"must": [{"key": "document_id", "match": {"value": "d7"}}]})
            assert store.count(NAME) == 400
            expected = store.search(NAME, [self.QUERY])
        assert failures == []
        assert store.count(NAME) == 400
        assert store.search(NAME, [self.QUERY]) == expected
        folder = root / "collections" / NAME
        assert [path.name for path in folder.glob("shard*")] == ["shard-copy"]
        taken = sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
        assert taken < 16 << 20  # what the engine reserves stays a hole
        store.release(NAME)
        assert store.count(NAME) == 400
        store.optimize(NAME)  # and back again
        assert [path.name for path in folder.glob("shard*")] == ["shard"]
        assert store.count(NAME) == 400

    def test_a_collection_can_be_released_meanwhile(
        self, root: Path, store: EdgeStore, slow: "Halted"
    ) -> None:
        with slow.optimizing(store) as failures:
            store.release(NAME)
            other = EdgeStore(root)
            assert other.count(NAME) == 300
            other.close()
        assert [type(error) for error in failures] == [StoreUnavailable]
        store.upsert(NAME, make_points(range(300, 310)))
        store.optimize(NAME)
        assert store.count(NAME) == 310

    def test_a_collection_can_be_dropped_meanwhile(self, store: EdgeStore, slow: "Halted") -> None:
        with slow.optimizing(store) as failures:
            store.drop(NAME)
        assert [type(error) for error in failures] == [StoreUnavailable]
        store.create(NAME, SCHEMA, {})
        assert store.count(NAME) == 0

    def test_the_engine_may_die_meanwhile(self, store: EdgeStore, slow: "Halted") -> None:
        with slow.optimizing(store) as failures:
            store.upsert(NAME, make_points(range(300, 320)))
            os.kill(store.worker_pids()[NAME], signal.SIGKILL)
            wait_until(lambda: not store.worker_pids())
            assert store.count(NAME) == 320
            store.upsert(NAME, make_points(range(320, 330)))
        assert failures == []
        assert store.count(NAME) == 330

    @pytest.mark.slow
    def test_what_was_flushed_survives_kills_at_any_moment(
        self, root: Path, store: EdgeStore
    ) -> None:
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(1000)))
        store.release(NAME)
        held = 1000
        for turn in range(4):
            process = start(
                root,
                f"""
                import threading
                from lockstep.store import edge_collection
                edge_collection.BESIDE_POINTS = 1
                store.count(NAME)
                def optimize():
                    while True:
                        store.optimize(NAME)
                        say("optimized")
                threading.Thread(target=optimize, daemon=True).start()
                number = {held}
                while True:
                    store.upsert(NAME, points(range(number, number + 10)))
                    store.flush(NAME)
                    number += 10
                    say(number)
                    time.sleep(0.02)
                """,
            )
            said = [heard(process)]
            while said.count("optimized") < turn % 3:
                said.append(heard(process))
            time.sleep(0.5 * turn)
            said += kill(process)
            held = max(int(word) for word in said if word.isdigit())
            assert store.count(NAME) >= held
            held = store.count(NAME)
            ids = [str(UUID(int=number)) for number in range(held)]
            assert len(store.retrieve(NAME, ids)) == held
            store.release(NAME)


class Halted:
    """Optimising that waits for its word between the copy and the work on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._copied, self._go = threading.Event(), threading.Event()
        request = WorkerProcess.request

        def halting(worker: WorkerProcess, operation: str, *arguments: Any) -> Any:
            if operation == "optimize_copy":
                self._copied.set()
                wait_until(lambda: self._go.is_set() or not worker.alive())
            return request(worker, operation, *arguments)

        monkeypatch.setattr(WorkerProcess, "request", halting)

    @contextmanager
    def optimizing(self, store: EdgeStore) -> Iterator[list[Exception]]:
        """The block runs once the copy is made; what went wrong is known after it."""
        failures: list[Exception] = []

        def optimize() -> None:
            try:
                store.optimize(NAME)
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=optimize)
        thread.start()
        try:
            assert self._copied.wait(60)
            yield failures
        finally:
            self._go.set()
            thread.join(60)
            assert not thread.is_alive()


class TestLostFiles:
    @pytest.fixture
    def shard(self, root: Path, store: EdgeStore) -> Path:
        """A closed collection of 200 points."""
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(200)))
        store.optimize(NAME)
        store.release(NAME)
        return root / "collections" / NAME / "shard"

    @pytest.mark.parametrize("lost", ["..", ".", "segments", "../marker.json"])
    def test_a_collection_without_it_is_damaged(
        self, store: EdgeStore, shard: Path, lost: str
    ) -> None:
        path = (shard / lost).resolve()
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        with pytest.raises(CollectionDamaged, match=NAME):
            store.count(NAME)

    def test_a_lost_segment_is_noticed(self, root: Path, store: EdgeStore) -> None:
        # 16 MB of vectors: enough for the engine to build a graph, in a segment of its own.
        store.create(NAME, CollectionSchema(dense_dim=2048), {})
        for start_at in range(0, 2000, 500):
            store.upsert(NAME, make_points(range(start_at, start_at + 500), dim=2048))
        store.optimize(NAME)
        store.release(NAME)
        segments = list((root / "collections" / NAME / "shard" / "segments").iterdir())
        assert len(segments) > 1
        shutil.rmtree(segments[0])
        with pytest.raises(CollectionDamaged, match="1 of its segments"):
            store.count(NAME)

    def test_another_collection_in_its_place_is_noticed(
        self, root: Path, store: EdgeStore, shard: Path
    ) -> None:
        store.create("other", SCHEMA, {})
        store.release("other")
        shutil.rmtree(shard.parent)
        shutil.copytree(root / "collections" / "other", shard.parent)
        with pytest.raises(CollectionDamaged, match="not what lies"):
            store.count(NAME)

    def test_a_damaged_collection_can_be_dropped_and_made_again(
        self, store: EdgeStore, shard: Path
    ) -> None:
        shutil.rmtree(shard.parent)
        store.drop(NAME)
        store.create(NAME, SCHEMA, {})
        assert store.count(NAME) == 0

    def test_writes_between_two_openings_do_not_look_like_damage(
        self, store: EdgeStore, shard: Path
    ) -> None:
        for start_at in range(0, 1000, 250):
            store.upsert(NAME, make_points(range(start_at, start_at + 250)))
            store.release(NAME)
        store.optimize(NAME)
        os.kill(store.worker_pids()[NAME], signal.SIGKILL)
        assert shard.exists()
        wait_until(lambda: not store.worker_pids())
        assert store.count(NAME) == 1000

    @pytest.mark.parametrize("damage", ["cut", "emptied", "edited", "missing"])
    def test_a_damaged_manifest_stops_changes_but_not_searches(
        self, root: Path, store: EdgeStore, damage: str
    ) -> None:
        store.create(NAME, SCHEMA, {"kept": True})
        store.upsert(NAME, make_points(range(10)))
        store.set_alias("docs", NAME)
        manifest = root / "manifest.json"
        whole = manifest.read_text()
        if damage == "missing":
            manifest.unlink()
        else:
            bad = {"cut": whole[:-40], "emptied": "", "edited": whole.replace("docs", "dogs")}
            manifest.write_text(bad[damage])

        query = DenseBranch(np.ones(DIM, np.float32), 3)
        assert len(store.search(NAME, [query])[0]) == 3
        with pytest.raises(ManifestDamaged, match=r"manifest\.previous\.json"):
            store.aliases()
        with pytest.raises(ManifestDamaged):
            store.set_alias("docs", NAME)
        with pytest.raises(ManifestDamaged):
            store.create("new", SCHEMA, {})
        fresh = EdgeStore(root)
        with pytest.raises(ManifestDamaged):
            fresh.count(NAME)

        shutil.copy(root / "manifest.previous.json", manifest)
        assert store.collections() == {NAME: {"kept": True}}
        store.set_alias("docs", NAME)
        assert store.aliases() == {"docs": NAME}
        fresh.close()


class TestAFullDisk:
    def fill(self, folder: Path, *, leave: int) -> Path:
        ballast = folder / "ballast"
        free = shutil.disk_usage(folder).free
        with ballast.open("wb") as file:
            for _ in range((free - leave) // 2**20):
                file.write(bytes(2**20))
        return ballast

    def test_writes_are_refused_and_nothing_is_lost(self, small_disk: Path) -> None:
        store = EdgeStore(small_disk / "vectors")
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(500)))
        ballast = self.fill(small_disk, leave=20 * 2**20)
        with pytest.raises(StorageFull, match="No space"):
            store.upsert(NAME, make_points(range(500, 600)))
        with pytest.raises(StorageFull, match="No space"):
            store.optimize(NAME)
        with pytest.raises(StorageFull, match="No space"):
            store.create("another", SCHEMA, {})
        query = DenseBranch(np.ones(DIM, np.float32), 3)
        assert len(store.search(NAME, [query])[0]) == 3
        assert list(store.collections()) == [NAME]
        ballast.unlink()
        store.upsert(NAME, make_points(range(500, 600)))
        assert store.count(NAME) == 600
        store.close()

    def test_a_manifest_that_cannot_be_written_stays_as_it_was(self, small_disk: Path) -> None:
        store = EdgeStore(small_disk / "vectors")
        store.create(NAME, SCHEMA, {})
        store.set_alias("docs", NAME)
        ballast = self.fill(small_disk, leave=2**20)
        with pytest.raises(StorageFull, match="manifest"):
            store.set_metadata(NAME, {"filler": "x" * 3 * 2**20})
        assert store.aliases() == {"docs": NAME}
        ballast.unlink()
        store.set_metadata(NAME, {"small": 1})
        assert store.collections() == {NAME: {"small": 1}}
        store.close()

    def test_a_disk_that_others_fill_is_not_taken_for_a_crash(self, small_disk: Path) -> None:
        store = EdgeStore(small_disk / "vectors")
        store.create(NAME, SCHEMA, {})
        store.upsert(NAME, make_points(range(500)))
        worker = store.worker_pids()[NAME]
        os.kill(worker, signal.SIGSTOP)  # so that the call is in flight
        ballast = self.fill(small_disk, leave=0)
        # What the kernel sends where a mapped file cannot grow.
        threading.Timer(0.3, os.kill, (worker, signal.SIGBUS)).start()
        threading.Timer(0.4, os.kill, (worker, signal.SIGCONT)).start()
        with pytest.raises(StorageFull, match="No space"):
            store.upsert(NAME, make_points(range(500, 600)))
        ballast.unlink()
        assert store.count(NAME) == 500
        store.close()
