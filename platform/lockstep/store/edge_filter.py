"""Filter JSON, already checked, as the embedded engine's own filter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import qdrant_edge as engine

from lockstep.errors import InvalidFilter
from lockstep.store.filters import as_list
from lockstep.store.port import Json


def edge_filter(filter: Json | None) -> engine.Filter | None:
    """Raises InvalidFilter where a key is not a JSON path, which only the engine can tell."""
    if filter is None:
        return None
    try:
        return _filter(filter)
    except (ValueError, TypeError) as error:
        raise InvalidFilter(f"The engine does not read the filter: {error}.") from error


def _filter(body: Json) -> engine.Filter:
    least = body.get("min_should")
    return engine.Filter(
        must=_conditions(body.get("must")),
        should=_conditions(body.get("should")),
        must_not=_conditions(body.get("must_not")),
        min_should=None
        if least is None
        else engine.MinShould(_conditions(least["conditions"]) or [], least["min_count"]),
    )


def _conditions(clause: Any) -> list[Any] | None:
    return None if clause is None else [_condition(item) for item in as_list(clause)]


def _condition(body: Json) -> Any:
    if "key" in body:
        return _field(body)
    if "has_id" in body:
        return engine.HasIdCondition(set(body["has_id"]))
    if "has_vector" in body:
        return engine.HasVectorCondition(body["has_vector"])
    if "is_empty" in body:
        return engine.IsEmptyCondition(body["is_empty"]["key"])
    if "is_null" in body:
        return engine.IsNullCondition(body["is_null"]["key"])
    if "nested" in body:
        return engine.NestedCondition(body["nested"]["key"], _filter(body["nested"]["filter"]))
    return _filter(body)


def _field(body: Json) -> engine.FieldCondition:
    tests = {name: value for name, value in body.items() if name != "key" and value is not None}
    built = {name: _FIELD_TESTS[name](value) for name, value in tests.items()}
    return engine.FieldCondition(body["key"], **built)


def _match_value(value: Any) -> engine.MatchValue:
    # The binding reads Python's True as the number 1, which no boolean equals; numpy's it reads.
    plain: Any = np.bool_(value) if isinstance(value, bool) else value
    return engine.MatchValue(plain)


_MATCHES: dict[str, Callable[[Any], Any]] = {
    "value": _match_value,
    "any": engine.MatchAny,
    "except": engine.MatchExcept,
    "text": engine.MatchText,
    "text_any": engine.MatchTextAny,
    "phrase": engine.MatchPhrase,
    "prefix": engine.MatchPrefix,
    "substring": engine.MatchSubstring,
}


def _match(body: Json) -> Any:
    ((name, value),) = body.items()
    return _MATCHES[name](value)


def _range(body: Json) -> engine.RangeFloat | engine.RangeDateTime:
    if any(isinstance(bound, str) for bound in body.values()):
        return engine.RangeDateTime(**body)
    return engine.RangeFloat(**body)


def _ring(body: Json) -> list[engine.GeoPoint]:
    return [engine.GeoPoint(**point) for point in body["points"]]


_FIELD_TESTS: dict[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": _range,
    "values_count": lambda body: engine.ValuesCount(**body),
    "is_empty": bool,
    "is_null": bool,
    "geo_radius": lambda body: engine.GeoRadius(engine.GeoPoint(**body["center"]), body["radius"]),
    "geo_bounding_box": lambda body: engine.GeoBoundingBox(
        engine.GeoPoint(**body["top_left"]), engine.GeoPoint(**body["bottom_right"])
    ),
    "geo_polygon": lambda body: engine.GeoPolygon(
        _ring(body["exterior"]), [_ring(ring) for ring in body.get("interiors") or []]
    ),
}
