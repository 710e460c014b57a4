"""The gatekeeper: measures a candidate by every gate, one after the other."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lockstep.errors import CollectionInUse
from lockstep.gates.comparison import Comparison, compare
from lockstep.gates.contents import contents_gates
from lockstep.gates.health import health_gate, prefilter_gate
from lockstep.gates.queries import Queries
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
    ) -> GateReport:
        """Measure everything that is turned on; what the candidate holds first.

        A candidate that does not hold its corpus is measured no further.
        """
        started = time.monotonic()
        results = list(contents_gates(self.prober, candidate, applied_seq, self.settings))
        require_better = require_better or self.settings.require_better
        if not any(result.verdict.stops for result in results):
            results += self._measured(candidate, live, require_better=require_better)
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
    ) -> Iterator[GateResult]:
        sampled = self.queries.sampled(candidate.version.corpus, self.settings.queries)
        if (self.settings.health or self.settings.prefilter) and sampled:
            vectors = candidate.encoder.encode_queries(sampled)  # (n, dim)
            if self.settings.health:
                yield health_gate(candidate, self.store, vectors, self.settings)
            if self.settings.prefilter:
                result = prefilter_gate(candidate, self.store, vectors, self.settings)
                candidate = self._sized(candidate, result)
                yield result
        try:
            yield from self._compared(candidate, live, require_better=require_better).results
        except CollectionInUse as error:
            yield GateResult(
                COMPARISON,
                Verdict.FAILED,
                figure=error.message,
                threshold="the live version answers",
                detail="promote from that process, or stop it",
            )

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
        judged = self.queries.judged(corpus) or [
            self.queries.known_items(corpus, self.settings.queries)
        ]
        return compare(
            searcher_for(candidate, self.store, self.replicas),
            None if live is None else searcher_for(live, self.store, self.replicas),
            judged,
            self.queries.sampled(corpus, self.settings.queries) if live else (),
            self.settings,
            require_better=require_better,
        )
