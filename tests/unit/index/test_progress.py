"""How far the fold has come, batch by batch."""

from lockstep.corpus.documents import Change, Document
from lockstep.index.applier import Progress
from lockstep.index.engine import Built
from lockstep.index.stages import Timings


def _batch(*, known: int | None) -> Built:
    return Built([Change(1, "d", Document("d", "text"))], [], (), Timings(), tokens=9, known=known)


def test_documents_with_known_tokens_add_up() -> None:
    once = Progress(0, 2).after(_batch(known=1), 1.0)
    assert once.after(_batch(known=0), 2.0).known == 1


def test_where_no_cache_was_asked_there_is_no_count() -> None:
    assert Progress(0, 1).after(_batch(known=None), 1.0).known is None
