"""The regression guard: whether what a model gained here, it lost on another collection."""

from collections.abc import Sequence

from lockstep.gates.queries import MIN_QUERIES
from lockstep.gates.statistics import Paired
from lockstep.index.gate_report import Verdict
from lockstep_indexer.evaluate.results import Comparison, GuardLine


def guard_lines(comparisons: Sequence[Comparison], margin: float) -> list[GuardLine]:
    return [GuardLine(each, *verdict(each.paired, margin)) for each in comparisons]


def verdict(paired: Paired, margin: float) -> tuple[Verdict, str]:
    """Passed where the interval excludes a loss beyond the margin, failed where it proves one."""
    if paired.queries < MIN_QUERIES:
        return Verdict.FLAGGED, f"at least {MIN_QUERIES} queries are needed to tell anything"
    if paired.high < -margin:
        return Verdict.FAILED, f"a loss beyond {margin:g} is proven"
    if paired.low >= -margin:
        return Verdict.PASSED, f"a loss beyond {margin:g} is excluded"
    needed = paired.needed(margin)
    if needed is None:
        return Verdict.FLAGGED, f"it seems to have lost more than {margin:g}; that is not proven"
    more = f"; about {needed:,} queries would tell" if needed > paired.queries else ""
    return Verdict.FLAGGED, f"a loss beyond {margin:g} is not excluded{more}"
