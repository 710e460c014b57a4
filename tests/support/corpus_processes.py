"""What the processes do that test the corpus."""

import random
from multiprocessing.synchronize import Barrier
from pathlib import Path

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.documents import Document
from lockstep.corpus.ingest import ingest

# What a writer acknowledges: the numbers it took (first, last), and the texts by id; None: deleted.
Acknowledged = tuple[int, int, dict[str, str | None]]


_all_there: Barrier


def meet_at(barrier: Barrier) -> None:
    """For the start of a process: where its work waits for that of the others."""
    global _all_there
    _all_there = barrier


def write_batches(url: str, name: str, writer: int, rounds: int) -> list[Acknowledged]:
    """Write random batches of this writer's own ids; returns what was acknowledged."""
    draws = random.Random(writer)
    own = [f"{writer}-{n}" for n in range(15)]
    acknowledged: list[Acknowledged] = []
    database = Database(url)
    corpora = Corpora(database)
    _all_there.wait()
    for turn in range(rounds):
        chosen = draws.sample(own, draws.randint(1, len(own)))
        cut = draws.randint(0, len(chosen))
        upserts = [Document(each, f"{writer} {turn}") for each in chosen[:cut]]
        result = corpora.write(name, upserts, chosen[cut:])
        taken = result.added + result.changed + result.deleted
        texts = {each.id: each.text for each in upserts} | dict.fromkeys(chosen[cut:])
        acknowledged.append((result.head_seq - taken + 1, result.head_seq, texts))
    database.close()
    return acknowledged


def migrate_together(urls: list[str]) -> None:
    """Migrate each database at the same moment as the other processes."""
    for url in urls:
        database = Database(url)
        _all_there.wait()
        database.migrate()
        Corpora(database).create("docs")
        database.close()


def ingest_file(url: str, name: str, path: Path, batch_documents: int) -> None:
    database = Database(url)
    ingest(Corpora(database), name, [path], batch_documents=batch_documents)
    database.close()
