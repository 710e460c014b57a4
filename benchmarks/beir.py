"""Reads the queries and judgments of a BEIR folder."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Judged:
    """Queries with judgments: query id -> text, and query id -> document id -> grade."""

    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def read_judged(folder: Path, *, split: str = "test", limit: int | None = None) -> Judged:
    """The judged queries of a split; with a limit, evenly spread over them."""
    qrels: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    ids = sorted(qrels)
    if limit is not None and limit < len(ids):
        ids = [ids[n * len(ids) // limit] for n in range(limit)]
    wanted = set(ids)
    queries: dict[str, str] = {}
    with (folder / "queries.jsonl").open(encoding="utf-8") as file:
        for line in file:
            query = json.loads(line)
            if query["_id"] in wanted:
                queries[query["_id"]] = query["text"]
    return Judged(queries, {query_id: qrels[query_id] for query_id in queries})
