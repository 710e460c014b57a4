"""How much two rankings agree."""

from collections.abc import Sequence


def jaccard(one: Sequence[str], other: Sequence[str], *, depth: int = 10) -> float:
    """The share of what either has among its first `depth` that both have; 1 where both are empty.

    Source: Jaccard, Bulletin de la Société vaudoise des sciences naturelles 1901.
    """
    first, second = set(one[:depth]), set(other[:depth])
    union = first | second
    return len(first & second) / len(union) if union else 1.0


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], p: float = 0.9) -> float:
    """Agreement from 0 to 1 in which each place counts `p` times as much as the one above it.

    Extrapolated: beyond the shorter ranking, the agreement seen last is taken to go on. Neither
    ranking may hold an item twice. Two empty rankings agree. Source: Webber, Moffat, Zobel, A
    similarity measure for indefinite rankings, ACM TOIS 2010, equation 32.
    """
    if not 0 < p < 1:
        raise ValueError(f"p is {p}; expected a number between 0 and 1")
    short, long = sorted((one, other), key=len)
    s, l = len(short), len(long)  # noqa: E741 - the paper's names
    if not s:
        return 1.0 if not l else 0.0
    overlap = _overlaps(short, long)  # overlap[d]: items in common among the first d
    x_s, x_l = overlap[s], overlap[l]
    seen = sum(overlap[d] / d * p**d for d in range(1, l + 1))
    guessed = sum(x_s * (d - s) / (s * d) * p**d for d in range(s + 1, l + 1))
    tail = ((x_l - x_s) / l + x_s / s) * p**l
    return (1 - p) / p * (seen + guessed) + tail


def _overlaps(short: Sequence[str], long: Sequence[str]) -> list[int]:
    """How many items the first d of both have in common, for d from 0 to the longer length."""
    counts, seen_short, seen_long = [0], set[str](), set[str]()
    for depth, item in enumerate(long):
        found = 0
        if depth < len(short):
            other = short[depth]
            found += other == item
            found += other in seen_long
            seen_short.add(other)
        found += item in seen_short and not (depth < len(short) and short[depth] == item)
        seen_long.add(item)
        counts.append(counts[-1] + found)
    return counts
