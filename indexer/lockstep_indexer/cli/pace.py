"""How fast a build gets on, and what bounds it."""

from typing import TYPE_CHECKING, Any

from lockstep.index.stages import ENCODE, POINTS, READ, SPLIT, STAGES, TOKENS, WRITE
from lockstep_indexer.cli.render import duration, plural

if TYPE_CHECKING:
    from lockstep.index.applier import Progress

_SAID = {
    READ: "reading",
    SPLIT: "splitting",
    TOKENS: "tokenizing",
    ENCODE: "encoding",
    POINTS: "making points",
    WRITE: "writing",
}


def per_second(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def short_rates(progress: "Progress") -> list[str]:
    """How fast it gets on, for the narrow place beside a bar; the first matter most."""
    seconds = progress.total_s
    if not seconds:
        return []
    return [
        f"{per_second(progress.documents / seconds).removesuffix('/s')} docs/s",
        f"{_thousands(progress.tokens / seconds)} tok/s" if progress.tokens else "",
        f"{_share(progress):.0%} of ceiling" if progress.least_s else "",
        f"{progress.documents:,} documents",
        f"{progress.passages:,} passages",
    ]


def rates(progress: "Progress") -> list[str]:
    """What was done and how fast, for a line of its own."""
    seconds = progress.total_s
    said = [
        f"{progress.documents:,} documents",
        per_second(progress.documents / seconds) if seconds else "",
        f"{progress.passages:,} passages",
        per_second(progress.passages / seconds) if seconds and progress.passages else "",
        f"{progress.tokens / seconds:,.0f} tokens/s" if seconds and progress.tokens else "",
        f"{_share(progress):.0%} of the card's ceiling" if progress.least_s else "",
        plural(progress.deleted, "deletion") if progress.deleted else "",
    ]
    return [each for each in said if each]


def spent(progress: "Progress") -> str:
    """Where the time went, stages working at the same time, and what bounded the build."""
    if not progress.stage_s or not progress.total_s:
        return ""
    stages = ", ".join(f"{_SAID[name]} {duration(s)}" for name, s in _stages(progress).items())
    name, busy = _bound(progress)
    share = _known_share(progress)
    known = "" if share is None else f"; tokens of {share:.0%} of the documents known from before"
    return f"{stages}; bound by {_SAID[name]}: busy {busy:.0%}{known}"


def pace_json(progress: "Progress") -> dict[str, Any]:
    seconds = progress.total_s
    name, _ = _bound(progress) if progress.stage_s else (None, 0.0)
    return {
        "deletions": progress.deleted,
        "tokens": progress.tokens or None,
        "documents_with_known_tokens": progress.known,
        "token_cache_hits": _known_share(progress),
        "documents_per_s": _rate(progress.documents, seconds),
        "passages_per_s": _rate(progress.passages, seconds),
        "tokens_per_s": _rate(progress.tokens, seconds) or None,
        "ceiling_share": round(_share(progress), 4) if progress.least_s else None,
        "stages": {
            stage: {"seconds": round(spent, 3), "busy": round(spent / seconds, 4)}
            for stage, spent in _stages(progress).items()
        }
        if seconds
        else {},
        "bound_by": name,
    }


def _thousands(rate: float) -> str:
    """Three digits or so: 840, 7.0k, 300k, 1.2M."""
    if rate < 999.5:
        return f"{rate:.0f}"
    size, unit = (1e6, "M") if rate >= 999_500 else (1e3, "k")
    return f"{rate / size:.1f}{unit}" if rate < 9.95 * size else f"{rate / size:.0f}{unit}"


def _rate(count: int, seconds: float) -> float | None:
    return round(count / seconds, 1) if seconds else None


def _known_share(progress: "Progress") -> float | None:
    """Of the documents; None where no cache was asked for their tokens."""
    if progress.known is None or not progress.tokens or not progress.documents:
        return None
    return round(progress.known / progress.documents, 4)


def _share(progress: "Progress") -> float:
    return progress.least_s / progress.total_s if progress.total_s else 0.0


def _stages(progress: "Progress") -> dict[str, float]:
    return {name: progress.stage_s[name] for name in STAGES if name in progress.stage_s}


def _bound(progress: "Progress") -> tuple[str, float]:
    """The stage that worked longest, and for which share of the time."""
    name = max(progress.stage_s, key=progress.stage_s.__getitem__)
    return name, progress.stage_s[name] / progress.total_s if progress.total_s else 0.0
