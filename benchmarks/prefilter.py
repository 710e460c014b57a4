"""The 64-dimension prefilter with full rescoring against a plain HNSW search of full dimensions.

    python -m benchmarks.prefilter --points 1000000

The vectors are made up: normal, in dimensions that carry less and less, as those of a model trained
with Matryoshka do. Both ways get the least effort that reaches
the wanted recall; each is then timed in a process of its own, which also tells how much of the
files it has touched: what has to stay in memory for it to stay fast.
"""

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as engine
from numpy.typing import NDArray

from lockstep.store.edge_shard import Shard
from lockstep.store.port import DENSE, PREFILTER, CollectionSchema

DIM, SHORT = 768, 64
NEAREST = 10
SEED = 7
DECAY = 0.5  # the deviation of dimension i is (1 + i) ** -DECAY
BATCH = 5_000
FEWEST = 50_000  # points: the engine walks no graph of short vectors below that
# How hard each way may try, from the least.
EFS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1280, 1536, 2048, 3072)
CANDIDATES = (20, 30, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1_200, 2_000)

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """Full search by `ef`; with `candidates`, by that many short vectors rescored."""

    ef: int
    candidates: int | None = None

    def request(self, query: Vectors) -> engine.QueryRequest:
        rescored = engine.QuantizationSearchParams(rescore=True)  # where it is quantized
        params = engine.SearchParams(hnsw_ef=self.ef, quantization=rescored)
        prefetches = None
        if self.candidates is not None:
            short: Any = query[:SHORT] / np.linalg.norm(query[:SHORT])
            nearest = engine.Query.Nearest(short, PREFILTER)
            prefetches = [engine.Prefetch(self.candidates, nearest, params=params)]
        full: Any = query
        return engine.QueryRequest(
            limit=NEAREST,
            query=engine.Query.Nearest(full, DENSE),
            prefetches=prefetches,
            params=params,
            with_payload=False,
            with_vector=False,
        )

    def __str__(self) -> str:
        if self.candidates is None:
            return f"full, ef {self.ef}"
        return f"prefilter, {self.candidates} candidates, ef {self.ef}"


class MadeUp:
    """Vectors of length 1, always the same ones."""

    def __init__(self, points: int) -> None:
        self.points = points
        self._deviations = (1.0 + np.arange(DIM, dtype=np.float32)) ** -DECAY

    @property
    def share(self) -> float:
        """Of the variance, in the short vectors."""
        variances = self._deviations**2
        return float(variances[:SHORT].sum() / variances.sum())

    def batches(self) -> Iterator[Vectors]:
        generator = np.random.default_rng(SEED)
        for start in range(0, self.points, BATCH):
            yield self._drawn(generator, min(BATCH, self.points - start))

    def queries(self, count: int) -> Vectors:
        return self._drawn(np.random.default_rng(SEED + 1), count)

    def _drawn(self, generator: np.random.Generator, count: int) -> Vectors:
        drawn = generator.standard_normal((count, DIM), dtype=np.float32) * self._deviations
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def build(made_up: MadeUp, folder: Path, schema: CollectionSchema) -> None:
    """Load the points and build both graphs; prints how long each took."""
    started = time.perf_counter()
    folder.mkdir(parents=True)
    shard = Shard.create(str(folder), schema)
    raw: engine.EdgeShard = shard._shard  # points without terms or payload
    numbers = itertools.count()
    for batch in made_up.batches():
        short = batch[:, :SHORT] / np.linalg.norm(batch[:, :SHORT], axis=1, keepdims=True)
        rows: list[Any] = [
            engine.Point(next(numbers), {DENSE: full, PREFILTER: part})
            for full, part in zip(batch, short, strict=True)
        ]
        raw.update(engine.UpdateOperation.upsert_points(rows))
    print(f"loaded    {made_up.points} points in {time.perf_counter() - started:.0f} s", flush=True)
    started = time.perf_counter()
    shard.optimize()
    shard.close()
    print(f"optimised in {time.perf_counter() - started:.0f} s", flush=True)


def exact(made_up: MadeUp, queries: Vectors) -> list[set[int]]:
    """The nearest of each query, by comparing with every point."""
    scores: list[Vectors] = []
    ids: list[NDArray[np.int64]] = []
    for start, batch in zip(itertools.count(0, BATCH), made_up.batches(), strict=False):
        found = queries @ batch.T
        best = np.argpartition(-found, min(NEAREST, len(batch) - 1), axis=1)[:, :NEAREST]
        ids.append(best + start)
        scores.append(np.take_along_axis(found, best, axis=1))
    all_ids, all_scores = np.concatenate(ids, axis=1), np.concatenate(scores, axis=1)
    best = np.argsort(-all_scores, axis=1)[:, :NEAREST]
    return [set(row) for row in np.take_along_axis(all_ids, best, axis=1).tolist()]


def recall(
    shard: engine.EdgeShard, way: Way, queries: Vectors, nearest: Sequence[set[int]]
) -> float:
    return statistics.mean(
        len({point.id for point in shard.query(way.request(query))} & true) / NEAREST
        for query, true in zip(queries, nearest, strict=True)
    )


def least(ways: Iterator[Way], measure: Callable[[Way], float], wanted: float) -> Way:
    """The first way that reaches the wanted recall, or else the last."""
    for way in ways:
        reached = measure(way)
        print(f"recall    {way!s:<40} {reached:.4f}", flush=True)
        if reached >= wanted:
            break
    return way


def timed(shard: engine.EdgeShard, way: Way, queries: Vectors) -> list[float]:
    """Milliseconds of each query, asked for a second time."""
    took = []
    requests = [way.request(query) for query in queries]
    for request in requests:
        shard.query(request)
    for request in requests:
        started = time.perf_counter()
        shard.query(request)
        took.append((time.perf_counter() - started) * 1000)
    return took


def walked(folder: Path, name: str) -> int:
    """The bytes of a vector's graphs and of the vectors in them."""
    graphs = list(folder.glob(f"segments/*/vector_index-{name}/*"))
    stored = {graph.parent.parent / f"vector_storage-{name}" / "matrix.dat" for graph in graphs}
    return sum(file.stat().st_size for file in {*graphs, *stored})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--quantization", choices=["none", "int8"], default="none")
    parser.add_argument("--ef-construct", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="keep the points here for the next run")
    arguments = parser.parse_args()
    if arguments.points < FEWEST:
        parser.error(f"--points is {arguments.points}; with fewer than {FEWEST} there is no graph")
    made_up = MadeUp(arguments.points)
    print(f"{DIM} dimensions, {made_up.share:.0%} of the variance in the first {SHORT}")
    with tempfile.TemporaryDirectory() as scratch:
        schema = CollectionSchema(
            dense_dim=DIM,
            prefilter_dim=SHORT,
            datatype="float16",
            quantization=arguments.quantization,
            hnsw_ef_construct=arguments.ef_construct,
        )
        name = f"points-{arguments.points}-{schema.quantization}-{schema.hnsw_ef_construct}"
        folder = (arguments.folder or Path(scratch)) / name
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            build(made_up, unfinished, schema)
            unfinished.rename(folder)
        compare(made_up, folder, queries=arguments.queries, wanted=arguments.recall)


def compare(made_up: MadeUp, folder: Path, *, queries: int, wanted: float) -> None:
    asked = made_up.queries(2 * queries)
    tuning, timing = asked[:queries], asked[queries:]
    nearest = exact(made_up, tuning)
    shard = engine.EdgeShard.load(str(folder))

    def measure(way: Way) -> float:
        return recall(shard, way, tuning, nearest)

    full = least((Way(ef) for ef in EFS), measure, wanted)
    short = least((Way(max(64, n), n) for n in CANDIDATES), measure, wanted)
    medians = []
    for way in (full, short):
        took = timed(shard, way, timing)
        medians.append(statistics.median(took))
        p95 = statistics.quantiles(took, n=20)[18]
        print(f"latency   {way!s:<40} p50 {medians[-1]:.2f} ms   p95 {p95:.2f} ms")
    shard.close()
    sizes = [walked(folder, name) for name in (DENSE, PREFILTER)]
    print(f"memory    full {sizes[0] / 2**20:.0f} MiB   prefilter {sizes[1] / 2**20:.0f} MiB")
    print(
        f"          full / prefilter: latency {medians[0] / medians[1]:.2f}, "
        f"memory {sizes[0] / sizes[1]:.2f}"
    )


if __name__ == "__main__":
    main()
