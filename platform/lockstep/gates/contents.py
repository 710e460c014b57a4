"""Does the candidate hold the corpus, as its own model encodes it?"""

import math
from collections.abc import Iterator

import scipy  # scipy.stats takes half a second to load, and is at first use

from lockstep.index.gate_report import GateResult, Verdict
from lockstep.index.generation import Generation
from lockstep.index.probe import Prober, ProbeReport
from lockstep.index.samples import SampleReport
from lockstep.settings import GateSettings

COMPLETENESS = "completeness"
IDENTITY = "identity"

# What a sample is chosen to see: this share of wrong vectors.
_SHARE = 0.01


def contents_gates(
    prober: Prober, generation: Generation, applied_seq: int, settings: GateSettings
) -> Iterator[GateResult]:
    """Every id and content hash, and sampled passages encoded again.

    The sample is another one for each version and each state of the log, so that what one of them
    misses the next may see.
    """
    if not (settings.completeness or settings.identity):
        return
    samples = settings.identity_samples if settings.identity else 1
    seed = applied_seq * 1000 + generation.version.number
    probe = prober.check(generation, applied_seq, samples=samples, seed=seed)
    if settings.completeness:
        yield _completeness(probe)
    if settings.identity:
        yield _identity(probe.samples, probe.points, generation.version.min_cosine)


def _completeness(probe: ProbeReport) -> GateResult:
    agree = not probe.content_problems
    return GateResult(
        COMPLETENESS,
        Verdict.PASSED if agree else Verdict.FAILED,
        figure=f"{probe.documents:,} documents, {probe.points:,} passages agree"
        if agree
        else " ".join(probe.content_problems).removesuffix("."),
        threshold="every id and content hash",
        measured={"documents": probe.documents, "points": probe.points},
    )


def _identity(samples: SampleReport, points: int, least: float) -> GateResult:
    if points and not samples.samples:
        return GateResult(
            IDENTITY,
            Verdict.FAILED,
            figure="no passage could be sampled: every document has changed meanwhile",
            threshold=f"cosine ≥ {least} for all",
            detail="try again when fewer writes come in",
        )
    return GateResult(
        IDENTITY,
        Verdict.FAILED if samples.problems else Verdict.PASSED,
        figure=" ".join(samples.problems).removesuffix(".")
        if samples.problems
        else f"{samples.samples:,} passages encoded again, cosine ≥ {samples.told_cosine}",
        threshold=f"cosine ≥ {least} for all",
        detail="" if samples.problems else _power(samples.samples, points),
        measured=samples.to_json(),
    )


def _power(samples: int, points: int) -> str:
    """What a sample without a fault proves, of faults that are spread over the passages."""
    if not points:
        return ""
    missed = scipy.stats.hypergeom.pmf(0, points, math.ceil(_SHARE * points), samples)
    return f"if {_SHARE:.0%} of all were wrong, this would miss it with chance {missed:.1g}"
