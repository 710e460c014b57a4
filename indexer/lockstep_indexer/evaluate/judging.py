"""What figures say by experience: gains too good or too small to be taken as they are."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TOO_GOOD = 0.5  # a gain of half the base's figure
TOO_SMALL = 0.03  # of the measure, three points; below .02 it is within the noise of most sets
CEILING = 0.70  # nDCG@10 of a base from which on training gains little
PAIRS_TO_READ = 50


class FlagKind(StrEnum):
    """What may be wrong with a gain."""

    TOO_GOOD = "too good"
    TOO_SMALL = "too small"


@dataclass(frozen=True)
class Flag:
    """A figure to look at twice, and how."""

    kind: FlagKind
    what: str
    next_step: str


def gain_flag(base: float, tuned: float) -> Flag | None:
    """What to doubt of a trained model's mean nDCG@10 over that of its base; None: nothing.

    A loss is no gain, and speaks for itself.
    """
    gain = tuned - base
    if gain > TOO_GOOD * base and gain > TOO_SMALL:
        share = f"{gain / base:+.0%}" if base else "from nothing"
        return Flag(
            FlagKind.TOO_GOOD,
            f"The gain of nDCG@10 is {gain:+.3f} ({share}). Most gains beyond {TOO_GOOD:.0%} come "
            "of test queries, or near copies of them, among the training pairs, or of questions "
            "made by one template.",
            "Compare training pairs with test queries (lockstep train does, unless told not to), "
            "and ask it some queries of real users.",
        )
    if 0 <= gain < TOO_SMALL:
        high = f"The base had {base:.3f} already, where little is left to gain. " * (
            base >= CEILING
        )
        return Flag(
            FlagKind.TOO_SMALL,
            f"The gain of nDCG@10 is only {gain:+.3f}. {high}The usual reason is pairs that do "
            "not belong together.",
            f"Read {PAIRS_TO_READ} random pairs; if five of them are wrong, mend the data before "
            "anything else.",
        )
    return None


def pairs_to_read(
    pairs: Sequence[tuple[str, str]], *, count: int = PAIRS_TO_READ, seed: int = 7
) -> list[tuple[str, str]]:
    """`count` pairs drawn by chance, always the same ones."""
    return random.Random(seed).sample(pairs, min(count, len(pairs)))
