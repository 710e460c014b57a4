"""The gatekeeper: measures a candidate by every gate, one after the other."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lockstep.errors import LockstepError
from lockstep.gates.comparison import Comparison, compare
from lockstep.gates.contents import contents_gates
from lockstep.gates.health import (
    HEALTH,
    PREFILTER_LOSS,
    exact_rankings,
    health_gate,
    prefilter_gate,
)
from lockstep.gates.queries import MIN_QUERIES, Queries
from lockstep.gates.searchers import searcher_for
from lockstep.index.catalog import IndexCatalog
from lockstep.index.gate_report import GateReport, GateResult, Verdict
from lockstep.index.generation import Generation
from lockstep.index.probe import Prober
from lockstep.index.replicas import Replicas
from lockstep.settings import GateSettings
from lockstep.store.port import VectorStore

COMPARISON = "comparison"


@dataclass(frozen=True)
class Gatekeeper:
    """Judges candidates; the `Gates` of a workspace's rollouts."""

    settings: GateSettings
    prober: Prober
    store: VectorStore
    catalog: IndexCatalog
    replicas: Replicas
    queries: Queries

    def judge(
        self,
        candidate: Generation,
        live: Generation | None,
        *,
        applied_seq: int,
        require_better: bool = False,
        unusable: str = "",
    ) -> GateReport:
        """Measure everything that is turned on; what the candidate holds first.

        A candidate that does not hold its corpus is measured no further. `unusable` says why there
        is a live version and yet nothing to compare with, which is a failed gate.
        """
        started = time.monotonic()
        results = list(contents_gates(self.prober, candidate, applied_seq, self.settings))
        require_better = require_better or self.settings.require_better
        if not any(result.verdict.stops for result in results):
            results += self._measured(candidate, live, require_better=require_better)
        if unusable:
            results.append(_failed(COMPARISON, unusable, "the live version answers"))
        return GateReport(
            candidate=candidate.collection,
            live=live.collection if live else None,
            results=results,
            took_s=time.monotonic() - started,
        )

    def compare(self, candidate: Generation, live: Generation) -> Comparison:
        """The same comparison outside of a promotion."""
        return self._compared(candidate, live, require_better=False)

    def _measured(
        self, candidate: Generation, live: Generation | None, *, require_better: bool
    ) -> list[GateResult]:
        """What goes wrong while a gate measures is that gate's failure: it can be overridden."""
        results = []
        try:
            for result in self._engine_gates(candidate):
                results.append(result)
                if result.gate == PREFILTER_LOSS:
                    candidate = self._sized(candidate, result)
        except LockstepError as error:
            results.append(_failed(HEALTH, str(error), "the engine answers"))
        try:
            compared = self._compared(candidate, live, require_better=require_better)
            results += compared.results
        except LockstepError as error:
            results.append(_failed(COMPARISON, str(error), "both versions answer"))
        return results

    def _engine_gates(self, candidate: Generation) -> Iterator[GateResult]:
        settings = self.settings
        if not (settings.health or settings.prefilter):
            return
        sampled = self.queries.sampled(candidate.version.corpus, settings.queries)
        if not sampled:
            yield GateResult(HEALTH, Verdict.SKIPPED, "no queries to ask")
            return
        vectors = candidate.encoder.encode_queries(sampled)  # (n, dim)
        exact = exact_rankings(candidate, self.store, vectors)
        if settings.health:
            yield health_gate(candidate, self.store, vectors, exact, settings)
        if settings.prefilter:
            yield prefilter_gate(candidate, self.store, vectors, exact, settings)

    def _sized(self, candidate: Generation, prefilter: GateResult) -> Generation:
        """The candidate with as many prefilter candidates as were measured to be needed."""
        needed = prefilter.measured.get("candidates")
        if needed is None:
            return candidate
        self.catalog.set_prefilter_candidates(candidate.version, needed)
        sized = replace(candidate.version, prefilter_candidates=needed)
        return replace(candidate, version=sized)

    def _compared(
        self, candidate: Generation, live: Generation | None, *, require_better: bool
    ) -> Comparison:
        corpus = candidate.version.corpus
        judged = self.queries.judged(corpus)
        if not any(len(one.queries) >= MIN_QUERIES for one in judged):
            judged.append(self.queries.known_items(corpus, self.settings.queries))
        return compare(
            searcher_for(candidate, self.store, self.replicas),
            None if live is None else searcher_for(live, self.store, self.replicas),
            judged,
            self.queries.sampled(corpus, self.settings.queries) if live else (),
            self.settings,
            require_better=require_better,
        )


def _failed(gate: str, figure: str, threshold: str) -> GateResult:
    return GateResult(gate, Verdict.FAILED, figure.removesuffix("."), threshold)
