"""What to make of the gain of a tuned model over its base."""

from collections.abc import Callable
from dataclasses import dataclass

from lockstep.gates.queries import MIN_QUERIES
from lockstep.gates.statistics import Paired
from lockstep_indexer.advise.rules import Leaning, Rule
from lockstep_indexer.evaluate.judging import TOO_GOOD, TOO_SMALL, Flag, FlagKind, gain_flag


@dataclass(frozen=True)
class Gain:
    """Mean nDCG@10 of both on the same queries, in one way of searching."""

    corpus: str
    base: str
    tuned: str
    way: str
    paired: Paired  # the tuned one is the candidate
    leaked: int | None = None  # judged queries among the pairs it was trained on; None: unknown

    @property
    def flag(self) -> Flag | None:
        return gain_flag(self.paired.live, self.paired.candidate)

    @property
    def is_told(self) -> bool:
        """Whether there are queries enough for the interval to mean anything."""
        return self.paired.queries >= MIN_QUERIES

    def is_flagged(self, kind: FlagKind) -> bool:
        return self.flag is not None and self.flag.kind is kind


def _flagged(kind: FlagKind) -> Callable[[Gain], bool]:
    return lambda g: g.is_flagged(kind)


def _what(g: Gain) -> str:
    return g.flag.what if g.flag else ""


def _step(g: Gain) -> str:
    return g.flag.next_step if g.flag else ""


def _figures(g: Gain) -> str:
    p = g.paired
    return (
        f"{g.way}: {p.live:.3f} → {p.candidate:.3f}, {p.difference:+.3f} "
        f"[{p.low:+.3f}, {p.high:+.3f}] on {p.queries:,} queries."
    )


GAIN_RULES: tuple[Rule[Gain], ...] = (
    Rule(
        "leak-found",
        Leaning.AGAINST,
        lambda g: bool(g.leaked),
        lambda g: f"{g.leaked:,} of the judged queries are among the training pairs.",
        lambda g: "What was trained on cannot be tested by: the figures are worth nothing.",
        lambda g: "Train without them: lockstep train leaves them out by itself.",
    ),
    Rule(
        "worse",
        Leaning.AGAINST,
        lambda g: g.is_told and g.paired.high < 0,
        _figures,
        lambda g: "The tuned model is worse, and that is no chance.",
        lambda g: "Read the pairs; then a lower rate, or fewer epochs.",
    ),
    Rule(
        "too-good",
        Leaning.FIRST,
        _flagged(FlagKind.TOO_GOOD),
        _what,
        lambda g: f"Gains beyond {TOO_GOOD:.0%} are rarer than leaks.",
        _step,
    ),
    Rule(
        "too-small",
        Leaning.FIRST,
        _flagged(FlagKind.TOO_SMALL),
        _what,
        lambda g: f"Below {TOO_SMALL:.2f} noisy pairs are likelier than a model at its best.",
        _step,
    ),
    Rule(
        "unproven",
        Leaning.UNKNOWN,
        lambda g: not g.is_told or g.paired.low <= 0 <= g.paired.high,
        _figures,
        lambda g: (
            "The interval includes zero: it may be luck."
            if g.is_told
            else "An interval of so few queries means little."
        ),
        lambda g: _queries_needed(g),
    ),
    Rule(
        "proven",
        Leaning.FOR,
        lambda g: g.is_told and g.paired.low > 0,
        _figures,
        lambda g: "The interval lies above zero.",
        lambda g: f"lockstep reindex {g.corpus} --model {g.tuned}",
    ),
)


def _queries_needed(g: Gain) -> str:
    if not g.is_told:
        return f"Judge at least {MIN_QUERIES} queries: lockstep qrels import {g.corpus} PATH"
    needed = g.paired.needed(0.0)
    if needed is None:
        return "More queries would not help: there is no gain to show."
    return f"About {max(needed, g.paired.queries):,} judged queries would show it."
