"""Boosts: what is recent, or popular, comes further up.

score = base * (1 + sum of weight * value), where each value, from 0 to 1, is computed by the engine
of a metadata field. What does not hold what is expected there has the value 0. The base is the
score without boosts. A cosine may be below 0, where more would be less: of a dense search the base
is (1 + cosine) / 2, in the same order. Any other score below 0 counts as 0.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from lockstep.errors import InvalidInput, SearchUnsupported
from lockstep.index.rebuilding import another_type
from lockstep.search.fusion import Ranked
from lockstep.store.payload_functions import Decay, PayloadFunction, Saturation
from lockstep.store.payload_indexes import check_field
from lockstep.store.port import METADATA, Json, Reader

if TYPE_CHECKING:
    from lockstep.index.generation import Generation

MAX_BOOSTS = 10
MAX_WEIGHT = 100.0
HALF_LIFE_DAYS = (1 / 1440, 36_500.0)
MIDPOINT = (1e-9, 1e15)
DAY_S = 86_400.0


def this_minute() -> datetime:
    """Now, so that the same request gives the same answer for a while."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


@dataclass(frozen=True)
class RecencyBoost:
    """0.5 ** (age / half-life) of a time; 1 for what lies in the future. Raises InvalidInput.

    Times are RFC 3339 texts, or days; `now`, like them, is UTC where it names no zone.
    """

    kind: ClassVar[str] = "recency"
    # An index of another type than these makes the engine fail to read the field.
    types: ClassVar[tuple[str, ...]] = ("datetime",)

    field: str
    half_life_days: float
    weight: float
    now: datetime = dataclasses.field(default_factory=this_minute)

    def __post_init__(self) -> None:
        _check(self.kind, self.field, self.weight)
        _check_number("half_life_days", self.half_life_days, *HALF_LIFE_DAYS)
        if not isinstance(self.now, datetime):
            raise InvalidInput(f"The now of a boost is {self.now!r}; expected a time.")
        try:
            _ = self.moment
        except OverflowError as error:
            raise InvalidInput(
                f"The now of a boost is {self.now.isoformat()}; expected a time that in UTC is in "
                "the years 1 to 9999."
            ) from error

    @property
    def moment(self) -> datetime:
        """`now` in UTC."""
        return _in_utc(self.now)

    @property
    def function(self) -> PayloadFunction:
        return Decay(_stored(self.field), self.half_life_days * DAY_S, self.moment.timestamp())


@dataclass(frozen=True)
class PopularityBoost:
    """x / (x + midpoint) of a number: half at the midpoint, 0 below 0. Raises InvalidInput."""

    kind: ClassVar[str] = "popularity"
    types: ClassVar[tuple[str, ...]] = ("integer", "float")

    field: str
    midpoint: float
    weight: float

    def __post_init__(self) -> None:
        _check(self.kind, self.field, self.weight)
        _check_number("midpoint", self.midpoint, *MIDPOINT)

    @property
    def function(self) -> PayloadFunction:
        return Saturation(_stored(self.field), self.midpoint)


Boost = RecencyBoost | PopularityBoost


def checked_boosts(boosts: Sequence[Boost]) -> tuple[Boost, ...]:
    """Raises InvalidInput."""
    if not isinstance(boosts, Sequence) or not all(isinstance(each, Boost) for each in boosts):
        raise InvalidInput(
            f"boosts is {str(boosts)[:80]}; expected a list of RecencyBoost and PopularityBoost."
        )
    if len(boosts) > MAX_BOOSTS:
        raise InvalidInput(f"There are {len(boosts)} boosts; at most {MAX_BOOSTS} allowed.")
    return tuple(boosts)


def require_computable(generation: "Generation", boosts: Sequence[Boost]) -> None:
    """Raise SearchUnsupported where a field is indexed as something that the boost cannot read."""
    version, manifest = generation.version, generation.encoder.version.manifest
    for boost in boosts:
        kind = version.spec.payload_indexes.get(boost.field)
        if kind is not None and kind not in boost.types:
            expected = " or ".join(boost.types)
            raise SearchUnsupported(
                f"Index {version.collection} has an index of type {kind} of '{boost.field}'; a "
                f"boost of kind {boost.kind} needs one of type {expected}, or none.",
                next_step=another_type(version, manifest, boost.field, boost.types[0], "boost by"),
            )


@dataclass(frozen=True)
class Boosted:
    """Candidates in their new order, and of each what its score is made of."""

    ranked: list[Ranked]
    bases: Mapping[str, float]
    parts: Mapping[str, list[Json]]  # of each boost: field, kind, value, weight, contribution

    def explain(self, point_id: str) -> Json:
        """The score is base * (1 + the sum of the contributions)."""
        return {"base": self.bases[point_id], "parts": self.parts[point_id]}


def apply_boosts(
    reader: Reader, boosts: Sequence[Boost], ranked: list[Ranked], *, cosine: bool
) -> Boosted | None:
    """Score the candidates anew and order them by (score descending, id); None without boosts.

    Only candidates move: what no ranking has found, no boost brings up. `cosine` says that scores
    are cosines.
    """
    if not boosts:
        return None
    ids = [each.id for each in ranked]
    values = reader.evaluate(ids, [boost.function for boost in boosts])
    bases = {each.id: _base(each.score, cosine=cosine) for each in ranked}
    parts = {each.id: _parts(each.id, boosts, values) for each in ranked}
    scored = [
        each._replace(score=bases[each.id] * (1 + math.fsum(map(_contribution, parts[each.id]))))
        for each in ranked
    ]
    scored.sort(key=lambda each: (-each.score, each.id))
    return Boosted(scored, bases, parts)


def _base(score: float, *, cosine: bool) -> float:
    return max(0.0, (1 + score) / 2 if cosine else score)


def _parts(
    point_id: str, boosts: Sequence[Boost], values: Sequence[Mapping[str, float]]
) -> list[Json]:
    return [
        {
            "field": boost.field,
            "kind": boost.kind,
            "value": (value := of_boost.get(point_id, 0.0)),
            "weight": boost.weight,
            "contribution": boost.weight * value,
        }
        for boost, of_boost in zip(boosts, values, strict=True)
    ]


def _contribution(part: Json) -> float:
    return float(part["contribution"])


def _check(kind: str, name: str, weight: float) -> None:
    check_field(name, f"The field of a boost of kind {kind}")
    if "[]" in name:
        raise InvalidInput(
            f"The boost of kind {kind} is of '{name}', which may have several values; expected "
            "a field with one."
        )
    _check_number("weight", weight, 0.0, MAX_WEIGHT)


def _check_number(name: str, value: float, least: float, most: float) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
    if not fits:
        raise InvalidInput(f"The {name} of a boost is {value!r}; expected {least:g} to {most:g}.")


def _in_utc(time: datetime) -> datetime:
    has_zone = time.utcoffset() is not None
    return time.astimezone(UTC) if has_zone else time.replace(tzinfo=UTC)


def _stored(name: str) -> str:
    return f"{METADATA}.{name}"
