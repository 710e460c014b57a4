"""Choosing some documents of a corpus without reading all of it."""

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, select

from lockstep.corpus.documents import Document
from lockstep.corpus.log_rows import document_of, live, streamed
from lockstep.corpus.schema import documents

_PROBES_PER_DOCUMENT = 4
_NUMBERS_AT_ONCE = 500
_DOCUMENTS_AT_ONCE = 32


def spread(connection: Connection, corpus: Row[Any], count: int) -> Iterator[Document]:
    """About `count` live documents spread evenly over the log; all where there are fewer."""
    if corpus.live_documents <= count:
        statement = live(corpus.id).order_by(documents.c.seq)
        with streamed(connection, statement, rows_at_once=_DOCUMENTS_AT_ONCE) as rows:
            yield from map(document_of, rows)
        return
    after = 0
    for remaining in range(count, 0, -1):
        # Aim again after each hit, so that a gap in the log does not cost the documents behind it.
        target = after + 1 + (corpus.head_seq - after - 1) // (remaining + 1)
        row = connection.execute(_from(live(corpus.id), target)).first()
        if row is None:
            return
        yield document_of(row)
        after = row.seq


def sample(connection: Connection, corpus: Row[Any], count: int, seed: int) -> list[Document]:
    """`count` live documents, or all where there are fewer; the same ones for the same seed."""
    wanted = min(count, corpus.live_documents)
    chosen = _probe(connection, corpus, wanted, random.Random(seed))  # order of the draws kept
    if len(chosen) < wanted:
        # The log has too many gaps to be probed by number: draw places among what is there.
        chosen = _by_place(connection, corpus, wanted, random.Random(seed))
    found = {row.seq: document_of(row) for row in _rows(connection, corpus.id, chosen)}
    return [found[seq] for seq in chosen]


def _probe(
    connection: Connection, corpus: Row[Any], wanted: int, draws: random.Random
) -> dict[int, None]:
    """Up to `wanted` numbers of live documents, each the first at or after a random number."""
    chosen: dict[int, None] = {}
    for _ in range(_PROBES_PER_DOCUMENT * wanted):
        if len(chosen) == wanted:
            break
        target = draws.randint(1, corpus.head_seq)
        seq = connection.scalar(_from(_seqs(corpus.id), target))
        if seq is not None:
            chosen[seq] = None
    return chosen


def _by_place(
    connection: Connection, corpus: Row[Any], wanted: int, draws: random.Random
) -> dict[int, None]:
    """`wanted` numbers of live documents, each as likely as any other."""
    places = set(draws.sample(range(corpus.live_documents), wanted))
    with streamed(connection, _seqs(corpus.id), rows_at_once=_NUMBERS_AT_ONCE) as in_order:
        seqs = [seq for place, (seq,) in enumerate(in_order) if place in places]
    draws.shuffle(seqs)
    return dict.fromkeys(seqs)


def _seqs(corpus_id: int) -> Any:
    return live(corpus_id).with_only_columns(documents.c.seq).order_by(documents.c.seq)


def _from(statement: Any, seq: int) -> Any:
    return statement.where(documents.c.seq >= seq).order_by(None).order_by(documents.c.seq).limit(1)


def _rows(connection: Connection, corpus_id: int, seqs: Iterable[int]) -> Iterator[Row[Any]]:
    remaining = iter(seqs)
    while chunk := list(islice(remaining, _NUMBERS_AT_ONCE)):
        statement = select(documents).where(
            documents.c.corpus_id == corpus_id, documents.c.seq.in_(chunk)
        )
        yield from connection.execute(statement)
