"""Promotions and rollbacks under load, with several servers over one Qdrant.

Searchers ask every server all the time while an operator swaps two versions back and forth.
Counted: searches that failed, answers that are not what the version they name answers when it is
pinned (query vector and index from different models), and the time from the alias write until the
last search that still began on the old version.

    python -m benchmarks.replicas --swaps 50
    python -m benchmarks.replicas --swaps 50 --url http://localhost:6333   # a live Qdrant
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from qdrant_stand_in import running_stand_in
from server_process import ServerProcess
from workspaces import CORPUS, build_live, build_next, new_root

from lockstep.bootstrap import Workspace, open_workspace

QUERIES = ("red river", "tall stone cloud", "engine wing heat", "quick pressure")
MODES = ("dense", "hybrid")

Key = tuple[str, str, str]  # collection, query, mode
Hits = list[tuple[str, float]]


@dataclass
class Load:
    """What the searchers saw."""

    expected: dict[Key, Hits]
    answers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    begun: dict[str, float] = field(default_factory=dict)  # collection -> when last begun on it
    lock: threading.Lock = field(default_factory=threading.Lock)

    def search(self, server: ServerProcess, turn: int) -> None:
        query, mode = QUERIES[turn % len(QUERIES)], MODES[turn // 4 % len(MODES)]
        started = time.monotonic()
        response = server.http.post(
            f"/v1/corpora/{CORPUS}/search", json={"query": query, "mode": mode}
        )
        with self.lock:
            if response.status_code != 200:
                self.failed.append(response.text)
                return
            answer = response.json()
            collection = answer["index_version"]
            self.answers[collection] += 1
            self.begun[collection] = max(started, self.begun.get(collection, 0.0))
            if hits(answer) != self.expected[collection, query, mode]:
                self.mismatched.append(f"{collection}: {query}, {mode}")


def hits(answer: dict[str, Any]) -> Hits:
    return [(hit["id"], round(hit["score"], 5)) for hit in answer["hits"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--searchers", type=int, default=2, help="of each server")
    parser.add_argument("--url", help="a live Qdrant; without it, the stand-in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, qdrant(arguments.url) as url:
        folder = Path(name)
        root = new_root(folder / "workspace", store_url=url, store_grpc_port=0)
        with open_workspace(root) as workspace:
            build_live(workspace, folder)
            build_next(workspace, folder, seed=2, promote=False)
            with ExitStack() as stack:
                servers = [
                    stack.enter_context(ServerProcess(root, folder / f"server-{n}.log"))
                    for n in range(arguments.servers)
                ]
                run(workspace, servers, arguments.swaps, arguments.searchers)


@contextmanager
def qdrant(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with running_stand_in() as server:
        yield server.url


def run(workspace: Workspace, servers: list[ServerProcess], swaps: int, searchers: int) -> Load:
    """Swap back and forth under load, and print what the searchers saw."""
    load = Load(
        {
            (f"{CORPUS}--v000{number}", query, mode): hits(
                servers[0].search(query, mode=mode, index_version=number)
            )
            for number in (1, 2)
            for query in QUERIES
            for mode in MODES
        }
    )
    done, delays = threading.Event(), []

    def keep_searching(server: ServerProcess, turn: int) -> None:
        while not done.is_set():
            turn += 1
            load.search(server, turn)

    with ThreadPoolExecutor(len(servers) * searchers) as pool:
        waiting = [
            pool.submit(keep_searching, server, searcher * 5)
            for server in servers
            for searcher in range(searchers)
        ]
        try:
            for number in range(swaps):
                delays.append(swap(workspace, load, promote=number % 2 == 0))
                print(f"swap {number + 1}: {delays[-1]:.2f} s to follow", flush=True)
        finally:
            done.set()
        for one in waiting:
            one.result()
    print(f"servers {len(servers)}, swaps {swaps}, searches {sum(load.answers.values())}")
    print(f"answers {dict(load.answers)}")
    print(f"failed {len(load.failed)}, mismatched {len(load.mismatched)}")
    print(
        f"from the alias write to the last search begun on the old version: "
        f"median {statistics.median(delays):.2f} s, longest {max(delays):.2f} s"
    )
    return load


def swap(workspace: Workspace, load: Load, *, promote: bool) -> float:
    """Promote v2 or roll back to v1; seconds until no search begins on the other one any more."""
    written: list[float] = []
    set_alias = workspace.store.set_alias

    def timed(alias: str, collection: str) -> None:
        set_alias(alias, collection)
        written.append(time.monotonic())

    # In this process alone, to know the moment of the write that the delay is counted from.
    workspace.store.set_alias = timed  # type: ignore[method-assign]
    try:
        done = (
            workspace.rollouts.promote(CORPUS, 2)
            if promote
            else workspace.rollouts.rollback(CORPUS)
        )
    finally:
        workspace.store.set_alias = set_alias  # type: ignore[method-assign]
    old = done.previous.collection if done.previous else ""
    # Once no search has begun on the old version for so long, every server has followed.
    while time.monotonic() - max(load.begun.get(old, 0.0), written[0]) < 1.5:
        time.sleep(0.1)  # between two looks
    return max(0.0, load.begun.get(old, 0.0) - written[0])


if __name__ == "__main__":
    main()
