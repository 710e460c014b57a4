"""Documents per second from JSON Lines into SQLite, beside the barest loop that could do it.

The rival: `json.loads` and `executemany` of the standard library into one table with the same
columns but no change log, no hashes and no checks; the same batches, the same PRAGMAs.
"""

import argparse
import gzip
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.ingest import BATCH_DOCUMENTS, ingest
from lockstep.corpus.readers import document_file

MEAN_TEXT_BYTES = 1300  # as in MedQuAD


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "synthetic.jsonl"
        if arguments.data:
            source = document_file(arguments.data)
        else:
            _write_synthetic(source, arguments.documents)
        rival, ours = [], []
        for round_number in range(arguments.rounds):
            rival.append(_bare_loop(source, folder / f"rival-{round_number}.db"))
            ours.append(_lockstep(source, folder / f"lockstep-{round_number}.db"))
        again = _lockstep(source, folder / "lockstep-0.db")
    print(f"bare sqlite3 loop     {max(rival):>9,.0f} documents/s (best of {len(rival)})")
    print(f"lockstep ingest       {max(ours):>9,.0f} documents/s (best of {len(ours)})")
    print(f"lockstep, unchanged   {again:>9,.0f} documents/s")
    print(f"lockstep / bare loop  {max(ours) / max(rival):>9.2f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=50_000, help="synthetic ones to write")
    parser.add_argument("--data", type=Path, help="a BEIR folder or JSON Lines file instead")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _write_synthetic(path: Path, count: int) -> None:
    draws = random.Random(7)
    words = [
        "".join(draws.choices("abcdefghijklmnoprstuvwy", k=draws.randint(2, 11)))
        for _ in range(20_000)
    ]
    with path.open("w") as file:
        for number in range(count):
            text = " ".join(
                draws.choices(words, k=max(20, round(draws.gauss(MEAN_TEXT_BYTES, 300) / 7.5)))
            )
            record = {
                "_id": f"doc-{number:08}",
                "title": " ".join(draws.choices(words, k=6)),
                "text": text,
                "metadata": {"source": "synthetic", "number": number},
            }
            file.write(json.dumps(record) + "\n")


def _lockstep(source: Path, target: Path) -> float:
    database = Database(f"sqlite:///{target}")
    database.migrate()
    report = ingest(Corpora(database), "bench", [source])
    database.close()
    return (report.added + report.unchanged) / report.seconds


def _bare_loop(source: Path, target: Path) -> float:
    connection = sqlite3.connect(target)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE documents (id TEXT PRIMARY KEY, title, text, metadata)")
    started = time.monotonic()
    total = 0
    for batch in _batches(_records(source)):
        with connection:
            connection.executemany("REPLACE INTO documents VALUES (?, ?, ?, ?)", batch)
        total += len(batch)
    seconds = time.monotonic() - started
    connection.close()
    return total / seconds


def _records(source: Path) -> Iterator[tuple[str, str, str, str]]:
    with gzip.open(source, "rb") if source.suffix == ".gz" else source.open("rb") as file:
        for line in file:
            record = json.loads(line)
            metadata = json.dumps(record.get("metadata", {}))
            yield record["_id"], record.get("title", ""), record["text"], metadata


def _batches(records: Iterable[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    remaining = iter(records)
    while batch := list(islice(remaining, BATCH_DOCUMENTS)):
        yield batch


if __name__ == "__main__":
    main()
