"""The gatekeeper: measures a candidate by every gate, one after the other."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from lockstep.gates.contents import contents_gates
from lockstep.index.gate_report import GateReport, GateResult
from lockstep.index.generation import Generation
from lockstep.index.probe import Prober
from lockstep.settings import GateSettings


@dataclass(frozen=True)
class Gatekeeper:
    """Judges candidates; the `Gates` of a workspace's rollouts."""

    prober: Prober
    settings: GateSettings

    def judge(
        self,
        candidate: Generation,
        live: Generation | None,
        *,
        applied_seq: int,
        require_better: bool = False,
    ) -> GateReport:
        """Measure everything that is turned on, cheap gates first."""
        started = time.monotonic()
        results = list(self._results(candidate, live, applied_seq, require_better))
        return GateReport(
            candidate=candidate.collection,
            live=live.collection if live else None,
            results=results,
            took_s=time.monotonic() - started,
        )

    def _results(
        self,
        candidate: Generation,
        live: Generation | None,
        applied_seq: int,
        require_better: bool,
    ) -> Iterator[GateResult]:
        yield from contents_gates(self.prober, candidate, applied_seq, self.settings)
