"""Functions of one payload field that an engine computes: from 0 to 1, of the points of a search.

The engine fails as a whole where a point lacks the field or holds something else in it. So each
function goes with a filter for the points that it can be computed of: their field holds exactly one
value, of the right kind.
"""

from dataclasses import dataclass
from typing import Any

# Whatever lies between these is a number, or a time.
_LEAST_NUMBER = -1.7976931348623157e308
LEAST_TIME = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Decay:
    """0.5 ** (age / half-life) of a time, where the age is what has passed of it up to `now_s`.

    1 for what lies in the future. Times are RFC 3339 texts, or days; without a zone they are UTC.
    """

    field: str
    half_life_s: float
    now_s: float  # since 1970

    @property
    def condition(self) -> dict[str, Any]:
        return _single(self.field, {"gte": LEAST_TIME})


@dataclass(frozen=True)
class Saturation:
    """x / (x + midpoint) of a number: half way to 1 at the midpoint; 0 for negative ones."""

    field: str
    midpoint: float

    @property
    def condition(self) -> dict[str, Any]:
        return _single(self.field, {"gte": _LEAST_NUMBER})


PayloadFunction = Decay | Saturation


def _single(field: str, values: dict[str, Any]) -> dict[str, Any]:
    """A filter for points whose field has one value, and that one in the range."""
    return {
        "must": [{"key": field, "range": values}, {"key": field, "values_count": {"lte": 1}}],
    }
