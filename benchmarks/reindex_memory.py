"""Peak memory of a reindex as the corpus grows tenfold: synthetic texts, a tiny random model.

The corpus is read, split and encoded in batches, so our own process should not grow; the embedded
engine's process holds the vectors and grows with them.

    python -m benchmarks.reindex_memory --documents 5000
"""

import argparse
import multiprocessing
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from lockstep.bootstrap import open_workspace
from lockstep.corpus.documents import Document
from lockstep.index.spec import SpecOptions
from lockstep.settings import init_workspace
from lockstep.testing import tiny_model
from lockstep_indexer.build.reindex import Listener, reindex

GROWTH = 10
DIM = 32


def documents(count: int) -> Iterator[Document]:
    chance = random.Random(1)
    words = [f"word{n}" for n in range(5000)]
    for number in range(count):
        yield Document(str(number), " ".join(chance.choices(words, k=120)))


def measure(root: Path, count: int, results: Any) -> None:
    """Build an index of `count` documents in this process; put (own, engine's) peak MiB."""
    init_workspace(root)
    with open_workspace(root) as workspace:
        workspace.corpora.create("docs")
        batch: list[Document] = []
        for document in documents(count):
            batch.append(document)
            if len(batch) == 1000:
                workspace.corpora.write("docs", batch)
                batch.clear()
        model = workspace.models.add("tiny", str(tiny_model(root / "tiny", dim=DIM, seed=1)))
        me = psutil.Process()
        peaks = [0, 0]

        def look(_: object = None) -> None:
            peaks[0] = max(peaks[0], me.memory_info().rss)
            workers = me.children(recursive=True)
            peaks[1] = max(peaks[1], sum(worker.memory_info().rss for worker in workers))

        reindex(workspace, "docs", model, SpecOptions(), listener=Listener(look, look))
        look()
        results.put([peak / 2**20 for peak in peaks])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--documents", type=int, default=5000, help="of the smaller corpus")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    peaks: list[tuple[float, float]] = []
    for count in (arguments.documents, arguments.documents * GROWTH):
        with tempfile.TemporaryDirectory() as folder:
            results = spawn.Queue()
            process = spawn.Process(target=measure, args=(Path(folder) / "w", count, results))
            process.start()
            own, engine = results.get()
            process.join()
            peaks.append((own, engine))
            print(
                f"memory    {count:>7} documents: {own:5.0f} MiB ours, {engine:5.0f} the engine's"
            )
    (own, engine), (own10, engine10) = peaks
    print(f"          grows by {own10 - own:.0f} MiB and {engine10 - engine:.0f} MiB")


if __name__ == "__main__":
    main()
