"""Replicas: the servers of a workspace, and what each of them answers from."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select

from lockstep.corpus.database import Database
from lockstep.corpus.schema import corpora, replicas
from lockstep.index.leases import Holder, this_process

BEAT_S = 5.0
# A server that has not been seen for this long is taken for dead.
SILENT_S = 20.0


@dataclass(frozen=True)
class Replica:
    """One server, and the collection from which it answers the searches of one corpus."""

    holder: Holder
    collection: str
    url: str  # empty where it takes no requests
    seen_at: float  # seconds since 1970


class Replicas:
    """Which servers answer from what. A server beats; commands look.

    `local_key` names the file in which a server on this machine lays the API key for commands.
    """

    def __init__(self, database: Database, local_key: Path | None = None) -> None:
        self._database = database
        self._local_key = local_key

    def local_key(self) -> str | None:
        """The API key that a server on this machine takes from commands beside it, if it runs."""
        try:
            return self._local_key.read_text().strip() if self._local_key else None
        except OSError:
            return None

    def beat(self, serving: Mapping[str, str], url: str) -> None:
        """Say that this process answers from these collections (corpus -> collection)."""
        me, now = this_process().to_text(), time.time()
        with self._database.writing() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == me))
            ids = {
                row.name: row.id
                for row in connection.execute(
                    select(corpora.c.name, corpora.c.id).where(corpora.c.name.in_(serving))
                )
            }
            rows = [
                {
                    "id": me,
                    "corpus_id": ids[corpus],
                    "collection": collection,
                    "url": url,
                    "seen_at": now,
                }
                for corpus, collection in serving.items()
                if corpus in ids
            ]
            if rows:
                connection.execute(replicas.insert(), rows)

    def leave(self) -> None:
        """Say that this process serves nothing any more."""
        with self._database.writing() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == this_process().to_text()))

    def serving(self, corpus: str) -> Sequence[Replica]:
        """The servers that answer the searches of a corpus; dead and silent ones left out."""
        return [replica for replica in self.known(corpus) if _is_alive(replica)]

    def known(self, corpus: str) -> Sequence[Replica]:
        """Every server that has said so and not left, dead and silent ones included."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(replicas)
                .join(corpora)
                .where(corpora.c.name == corpus)
                .order_by(replicas.c.id)
            ).all()
        return [
            Replica(Holder.from_text(row.id), row.collection, row.url, row.seen_at) for row in rows
        ]


def _is_alive(replica: Replica) -> bool:
    # A clock that jumped must not make a server disappear: only age in one direction counts.
    return time.time() - replica.seen_at < SILENT_S and not replica.holder.is_dead()
