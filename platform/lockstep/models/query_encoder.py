"""Queries to vectors, by the fastest way that gives a model version's own vectors."""

from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import Encoding

from lockstep.models.openvino_form import OpenVinoForm
from lockstep.models.query_batches import QueryBatcher
from lockstep.models.query_compiler import QueryForm
from lockstep.models.query_tokens import padded_length
from lockstep.models.torch_form import TorchForm
from lockstep.models.vectors import Vector
from lockstep.store.deadline import require_time


class QueryEncoder:
    """Runs the chosen form, on queries that it cannot hold the torch one. Safe in threads."""

    def __init__(self, chosen: QueryForm, torch: TorchForm, *, batch: int) -> None:
        self.report = chosen.report
        self._tokens = torch.tokens
        self._torch = torch
        self._compiled = chosen.form if isinstance(chosen.form, OpenVinoForm) else None
        self._batcher = self._batching(batch) if chosen.form.batches else None

    @property
    def is_compiled(self) -> bool:
        return self._compiled is not None

    @property
    def lanes(self) -> int:
        """How many batches are worked on at once."""
        return self._compiled.lanes if self._compiled else 1

    def one(self, text: str) -> Vector:
        """(dim,), not normalised. Callers at the same time may share a batch."""
        query = self._tokens.encode(text)
        if self._batcher is None or not self._fits(query):
            return self._torch.encode([query])[0]  # type: ignore[no-any-return]
        return self._batcher.encode(query)

    def many(self, texts: Sequence[str], *, batch_size: int) -> Vector:
        """(n, dim), not normalised: queries of like length together.

        Raises Unavailable where the deadline passes.
        """
        queries = [self._tokens.encode(text) for text in texts]
        return self.together(queries, batch_size=batch_size, before_each=_require_time)

    def together(
        self,
        queries: Sequence[Encoding],
        *,
        batch_size: int,
        before_each: Callable[[], None] = lambda: None,
    ) -> Vector:
        """The same of what is tokenized already; `before_each` batch may raise."""
        order = sorted(range(len(queries)), key=lambda row: len(queries[row].ids))
        parts = []
        for rows in self._cut(queries, order, batch_size):
            before_each()
            form = self._compiled if self._fits(queries[rows[0]]) else None
            parts.append((form or self._torch).encode([queries[row] for row in rows]))
        vectors: Vector = np.concatenate(parts)[np.argsort(order)]
        return vectors

    def _cut(self, queries: Sequence[Encoding], order: Sequence[int], size: int) -> list[list[int]]:
        """Runs of at most `size` queries; compiled, of one padded length."""
        runs: list[list[int]] = []
        for row in order:
            if runs and len(runs[-1]) < size and self._alike(queries[runs[-1][0]], queries[row]):
                runs[-1].append(row)
            else:
                runs.append([row])
        return runs

    def _batching(self, batch: int) -> QueryBatcher[Encoding]:
        if self._compiled is None:
            return QueryBatcher(self._torch.encode, alike=self._kind, most=batch)
        agreement = self.report.agreement
        # The same query twice has to give the same bits, whoever else asks at the time.
        stable = agreement is not None and agreement.stable
        return QueryBatcher(
            self._compiled.encode,
            alike=self._kind,
            most=batch if stable else 1,
            lanes=self._compiled.lanes,
        )

    def _kind(self, query: Encoding) -> int:
        tokens = len(query.ids)
        most = self._compiled.max_tokens if self._compiled else tokens
        return padded_length(tokens, max(most, tokens))

    def _alike(self, one: Encoding, other: Encoding) -> bool:
        return self._compiled is None or self._kind(one) == self._kind(other)

    def _fits(self, query: Encoding) -> bool:
        return self._compiled is None or len(query.ids) <= self._compiled.max_tokens


def _require_time() -> None:
    require_time("encode all texts")
