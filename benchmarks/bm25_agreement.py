"""BM25 through the engine against bm25s: the same tokens, settings and order; and its quality.

    python benchmarks/bm25_agreement.py --data FOLDER

FOLDER holds BEIR folders: cranfield, xquad-de and xquad-zh.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import bm25s
import ir_measures
import numpy as np
from ir_measures import Qrel, ScoredDoc, nDCG
from numpy.typing import NDArray
from qdrant_edge import (
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    Modifier,
    Point,
    Query,
    QueryRequest,
    UpdateOperation,
)
from qdrant_edge import SparseVector as EngineVector

from lockstep.lexical.bm25 import Bm25Encoder, Bm25Settings, measure_average_length
from lockstep.store.port import SparseVector

COLLECTIONS = {"cranfield": "english", "xquad-de": "german", "xquad-zh": "chinese"}
TOP = 10
VECTOR = "bm25"
SAME_SCORE = 1e-4  # relative: float32 sums in another order
BATCH = 500


@dataclass(frozen=True)
class Collection:
    """Documents, queries and judgements of one BEIR folder."""

    ids: list[str]
    texts: list[str]
    queries: dict[str, str]
    qrels: list[Qrel]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR folders")
    data = parser.parse_args().data
    for name, language in COLLECTIONS.items():
        report(name, read(data / name), language)


def report(name: str, collection: Collection, language: str) -> None:
    average = measure_average_length(collection.texts, language=language)
    encoder = Bm25Encoder(Bm25Settings(avg_length=average, language=language))
    with TemporaryDirectory() as folder:
        shard = index(encoder, collection.texts, Path(folder))
        rankings = {key: search(shard, encoder, text) for key, text in collection.queries.items()}
        shard.close()
    reference = reference_index(encoder, collection.texts)
    agreeing, difference = 0, 0.0
    for key, text in collection.queries.items():
        expected = reference_scores(reference, encoder, text)
        agreeing += same_top(rankings[key], expected)
        found = rankings[key]
        differences = [abs(score - expected[number]) for number, score in found]
        difference = max([difference, *differences])
    run = [
        ScoredDoc(key, collection.ids[number], score)
        for key, ranking in rankings.items()
        for number, score in ranking
    ]
    quality = ir_measures.calc_aggregate([nDCG @ TOP], collection.qrels, run)[nDCG @ TOP]
    print(
        f"{name} ({language}): {len(collection.texts)} documents of {average:.1f} terms; "
        f"top {TOP} agrees for {agreeing} of {len(rankings)} queries, "
        f"largest difference of a score {difference:.6f}; nDCG@{TOP} {quality:.4f}"
    )


def same_top(found: list[tuple[int, float]], expected: NDArray[np.float64]) -> bool:
    """Whether the ranking is one that the expected scores allow, ties in any order."""
    best = np.sort(expected[expected > 0])[::-1][:TOP]
    theirs = [expected[number] for number, _ in found]
    return len(found) == len(best) and bool(np.allclose(theirs, best, rtol=SAME_SCORE))


def tokens(encoder: Bm25Encoder, text: str) -> list[str]:
    """The encoder's terms as words, each as often as the text has it."""
    counts = encoder.term_counts(text)
    pairs = zip(counts.indices.tolist(), counts.values.tolist(), strict=True)
    return [str(index) for index, count in pairs for _ in range(int(count))]


def reference_index(encoder: Bm25Encoder, texts: list[str]) -> bm25s.BM25:
    settings = encoder.settings
    reference = bm25s.BM25(method="lucene", k1=settings.k1, b=settings.b)
    reference.index([tokens(encoder, text) for text in texts], show_progress=False)
    return reference


def reference_scores(
    reference: bm25s.BM25, encoder: Bm25Encoder, query: str
) -> NDArray[np.float64]:
    """Lucene leaves out the factor (k1 + 1), which changes no order."""
    known = [term for term in set(tokens(encoder, query)) if term in reference.vocab_dict]
    if not known:
        return np.zeros(reference.scores["num_docs"])
    scores: NDArray[np.float64] = reference.get_scores(known) * (encoder.settings.k1 + 1)
    return scores


def index(encoder: Bm25Encoder, texts: list[str], folder: Path) -> EdgeShard:
    parameters = EdgeSparseVectorParams(modifier=Modifier.Idf)
    shard = EdgeShard.create(str(folder), EdgeConfig(sparse_vectors={VECTOR: parameters}))
    vectors = encoder.encode_passages(texts)
    points = [Point(number, {VECTOR: engine(each)}, None) for number, each in enumerate(vectors)]
    for start in range(0, len(points), BATCH):
        shard.update(UpdateOperation.upsert_points(points[start : start + BATCH]))
    return shard


def search(shard: EdgeShard, encoder: Bm25Encoder, text: str) -> list[tuple[int, float]]:
    query = Query.Nearest(engine(encoder.encode_query(text)), VECTOR)
    found = shard.query(QueryRequest(query=query, limit=TOP, with_payload=False))
    return [(int(point.id), point.score) for point in found]


def engine(vector: SparseVector) -> EngineVector:
    return EngineVector(vector.indices.tolist(), vector.values.tolist())


def read(folder: Path) -> Collection:
    documents = [json.loads(line) for line in lines(folder / "corpus.jsonl")]
    queries = [json.loads(line) for line in lines(folder / "queries.jsonl")]
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    judged = {row[0] for row in rows}
    return Collection(
        ids=[document["_id"] for document in documents],
        texts=[f"{each.get('title', '')} {each['text']}".strip() for each in documents],
        queries={query["_id"]: query["text"] for query in queries if query["_id"] in judged},
        qrels=[Qrel(row[0], row[1], int(row[2])) for row in rows],
    )


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    main()
