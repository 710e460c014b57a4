"""Memory of a reindex as it gets on, and as the corpus grows: tiny texts, a tiny random model.

The corpus is read, split and encoded in batches, so our own process should not grow; the embedded
engine's process holds the vectors and grows with them. Each corpus is built in a process of its
own. The warm-up is a tenth of the documents; what comes after the encoding (the search indexes,
the probe) is told apart, and left out by --encoding-only.

    python -m benchmarks.reindex_memory --documents 100000 [--growth 10] [--words 24]
                                        [--encoding-only] [--folder DIR]
"""

import argparse
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from lockstep.bootstrap import open_workspace
from lockstep.corpus.documents import Document
from lockstep.index.applier import Progress
from lockstep.index.spec import SpecOptions
from lockstep.settings import init_workspace
from lockstep.testing import tiny_model
from lockstep_indexer.build.reindex import Listener, reindex
from lockstep_indexer.engines import choosing

GROWTH = 10
DIM = 32
_STEPS = 10  # lines of a build
_AT_ONCE = 1000


class Encoded(Exception):
    """All is encoded, and more is not wanted."""


@dataclass
class Watch:
    """Resident MiB of this process and of the engine's, by turns of a build."""

    documents: int
    encoding_only: bool
    me: psutil.Process = field(default_factory=psutil.Process)
    started: float = field(default_factory=time.monotonic)
    stage: str = ""
    own: dict[str, float] = field(default_factory=dict)  # the highest of each turn
    engine: dict[str, float] = field(default_factory=dict)
    shown: int = 0

    def enter(self, stage: str) -> None:
        self.look()
        self.stage = stage
        if stage == "optimising" and self.encoding_only:
            raise Encoded

    def progress(self, now: Progress) -> None:
        self.stage = "warm-up" if self.documents >= _STEPS * now.documents else "encoding"
        self.look()
        if now.documents * _STEPS >= (self.shown + 1) * self.documents:
            self.shown = now.documents * _STEPS // self.documents
            own, engine, _ = self.resident()
            print(
                f"          {now.documents:>9,} of {self.documents:,} documents after "
                f"{time.monotonic() - self.started:5.0f} s: {own:5.0f} MiB ours, "
                f"{engine:5.0f} the engine's",
                flush=True,
            )

    def look(self) -> None:
        own, engine, _ = self.resident()
        self.own[self.stage] = max(self.own.get(self.stage, 0.0), own)
        self.engine[self.stage] = max(self.engine.get(self.stage, 0.0), engine)

    def resident(self) -> tuple[float, float, int]:
        workers = self.me.children(recursive=True)
        engine = sum(worker.memory_info().rss for worker in workers)
        return self.me.memory_info().rss / 2**20, engine / 2**20, len(workers)


def documents(count: int, words: int) -> Iterator[Document]:
    chance = random.Random(1)
    known = [f"word{n}" for n in range(5000)]
    for number in range(count):
        yield Document(str(number), " ".join(chance.choices(known, k=words)))


def measure(root: Path, count: int, words: int, encoding_only: bool, results: Any) -> None:
    """Build an index of `count` documents in this process; put (own, engine's) MiB by turn."""
    choosing.WORTH_ON_CPU = 0.0  # both corpora by the same route
    init_workspace(root)
    with open_workspace(root) as workspace:
        workspace.corpora.create("docs")
        batch: list[Document] = []
        for document in documents(count, words):
            batch.append(document)
            if len(batch) == _AT_ONCE:
                workspace.corpora.write("docs", batch)
                batch.clear()
        workspace.corpora.write("docs", batch)
        model = workspace.models.add("tiny", str(tiny_model(root / "tiny", dim=DIM, seed=1)))
        watch = Watch(count, encoding_only)
        listener = Listener(watch.enter, watch.progress)
        try:
            done = reindex(workspace, "docs", model, SpecOptions(), listener=listener)
            print(f"          {done.encoded_by}")
        except Encoded:
            pass
        watch.look()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        results.put((watch.own, watch.engine, peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--documents", type=int, default=5000, help="of the smaller corpus")
    parser.add_argument("--growth", type=int, default=GROWTH, help="of the other; 1: no other")
    parser.add_argument("--words", type=int, default=24, help="of a document")
    parser.add_argument("--encoding-only", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the workspaces are made")
    asked = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    ends: list[float] = []
    for count in dict.fromkeys((asked.documents, asked.documents * asked.growth)):
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            results = spawn.Queue()
            process = spawn.Process(
                target=measure,
                args=(Path(folder) / "w", count, asked.words, asked.encoding_only, results),
            )
            process.start()
            own, engine, peak = results.get()
            process.join()
        ends.append(own["encoding"])
        warm = own.get("warm-up", own["encoding"])
        turns = ", ".join(f"{name} {own[name]:.0f}" for name in own if name)
        print(f"memory    {count:>9,} documents, MiB ours at most: {turns}; ever {peak:.0f}")
        print(f"          the engine's: {', '.join(f'{n} {engine[n]:.0f}' for n in engine if n)}")
        print(f"          from warm to the end of encoding: {ends[-1] - warm:+.0f} MiB")
    if len(ends) > 1:
        print(f"          {asked.growth} times the documents: {ends[1] - ends[0]:+.0f} MiB")


if __name__ == "__main__":
    main()
