"""Qdrant's filter JSON: what may be in it, said before any engine has to guess.

`check_filter` is stricter than the engines: each of them ignores something that the others
refuse. What passes here means the same to all of them.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from lockstep.errors import InvalidFilter, InvalidInput
from lockstep.store.checks import canonical_id
from lockstep.store.port import DOCUMENT_ID, Json

MAX_DEPTH = 16
CLAUSES = ("must", "should", "must_not")

_EXAMPLE = '{"must": [{"key": "year", "range": {"gte": 2020}}]}'
_EXAMPLES = {
    "match": '{"key": "lang", "match": {"value": "en"}}',
    "range": '{"key": "year", "range": {"gte": 2020, "lt": 2025}}',
    "geo_radius": '{"key": "place", "geo_radius": {"center": {"lon": 13.4, "lat": 52.5}, '
    '"radius": 1000}}',
    "geo_bounding_box": '{"key": "place", "geo_bounding_box": {"top_left": '
    '{"lon": 13.0, "lat": 52.7}, "bottom_right": {"lon": 13.8, "lat": 52.3}}}',
    "geo_polygon": '{"key": "place", "geo_polygon": {"exterior": {"points": [{"lon": 0, "lat": 0},'
    ' {"lon": 1, "lat": 0}, {"lon": 1, "lat": 1}, {"lon": 0, "lat": 0}]}}}',
    "values_count": '{"key": "tags", "values_count": {"gte": 2}}',
    "is_empty": '{"is_empty": {"key": "tags"}}',
    "is_null": '{"is_null": {"key": "tags"}}',
    "has_id": '{"has_id": ["…"]}',
    "has_vector": '{"has_vector": "dense"}',
    "nested": '{"nested": {"key": "authors", "filter": {"must": [{"key": "name", "match": '
    '{"value": "Ada"}}]}}}',
    "min_should": '{"min_should": {"conditions": [{"key": "lang", "match": {"value": "en"}}], '
    '"min_count": 1}}',
}


def check_filter(filter: object) -> None:
    """Raise InvalidFilter, naming the place, where this is not a filter that all engines read.

    The ids of `has_id` are point ids: UUIDs.
    """
    _walk_filter(filter, "", 0, _check_point_ids)


def prefixed(filter: Json, prefix: str) -> Json:
    """A user's filter over metadata as one over the stored payload: `prefix` before every key.

    Keys inside `nested` are relative to its key and stay. The ids of `has_id` are document ids
    here; they become a match on the payload's document id. Raises InvalidFilter.
    """
    _walk_filter(filter, "", 0, _check_document_ids)
    return _prefixed_filter(filter, prefix)


def as_list(conditions: Any) -> list[Any]:
    """The conditions of a clause, which may be one object or a list of them."""
    return conditions if isinstance(conditions, list) else [conditions]


_CheckIds = Callable[[Any, str], None]


def _walk_filter(filter: object, place: str, depth: int, check_ids: _CheckIds) -> None:
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"The filter is nested more than {MAX_DEPTH} deep at {place}.")
    clauses = _object(filter, place, _EXAMPLE, {*CLAUSES, "min_should"})
    for name in CLAUSES:
        if clauses.get(name) is not None:
            _walk_clause(clauses[name], _at(place, name), depth, check_ids)
    if clauses.get("min_should") is not None:
        at, example = _at(place, "min_should"), _EXAMPLES["min_should"]
        body = _object(clauses["min_should"], at, example, {"conditions", "min_count"}, all_=True)
        _require(_is_count(body["min_count"]), f"{at}.min_count", "a whole number", body, example)
        _require(isinstance(body["conditions"], list), f"{at}.conditions", "a list", body, example)
        _walk_clause(body["conditions"], f"{at}.conditions", depth, check_ids)


def _walk_clause(clause: Any, place: str, depth: int, check_ids: _CheckIds) -> None:
    for number, condition in enumerate(as_list(clause)):
        at = f"{place}[{number}]" if isinstance(clause, list) else place
        _walk_condition(condition, at, depth, check_ids)


def _walk_condition(condition: Any, place: str, depth: int, check_ids: _CheckIds) -> None:
    _require(isinstance(condition, Mapping), place, "a condition", condition, _EXAMPLES["match"])
    if "key" in condition:
        _check_field(condition, place)
    elif "has_id" in condition:
        body = _object(condition, place, _EXAMPLES["has_id"], {"has_id"})
        at = f"{place}.has_id"
        _require(isinstance(body["has_id"], list), at, "a list", body, _EXAMPLES["has_id"])
        check_ids(body["has_id"], at)
    elif "has_vector" in condition:
        body = _object(condition, place, _EXAMPLES["has_vector"], {"has_vector"})
        _text(body["has_vector"], f"{place}.has_vector", _EXAMPLES["has_vector"])
    elif "is_empty" in condition or "is_null" in condition:
        name = "is_empty" if "is_empty" in condition else "is_null"
        body = _object(condition, place, _EXAMPLES[name], {name})[name]
        at = f"{place}.{name}"
        _text(_object(body, at, _EXAMPLES[name], {"key"}, all_=True)["key"], at, _EXAMPLES[name])
    elif "nested" in condition:
        example = _EXAMPLES["nested"]
        body = _object(condition, place, example, {"nested"})["nested"]
        at = f"{place}.nested"
        body = _object(body, at, example, {"key", "filter"}, all_=True)
        _text(body["key"], f"{at}.key", example)
        _walk_filter(body["filter"], f"{at}.filter", depth + 1, _refuse_ids)
    else:
        _walk_filter(condition, place, depth + 1, check_ids)


def _check_field(condition: Mapping[str, Any], place: str) -> None:
    _text(condition["key"], f"{place}.key", _EXAMPLES["match"])
    given = [name for name, value in condition.items() if name != "key" and value is not None]
    unknown = [name for name in given if name not in _FIELD_CHECKS]
    if unknown or len(given) != 1:
        what = f"holds '{unknown[0]}'" if unknown else f"holds {len(given)} tests"
        raise _invalid(
            place,
            f"{what} beside its key; expected one of {', '.join(_FIELD_CHECKS)}",
            _EXAMPLES["match"],
        )
    name = given[0]
    _FIELD_CHECKS[name](condition[name], f"{place}.{name}")


_MATCH_LISTS = ("any", "except")
_MATCH_TEXTS = ("text", "text_any", "phrase", "prefix", "substring")


def _check_match(body: Any, place: str) -> None:
    example = _EXAMPLES["match"]
    body = _object(body, place, example, {"value", *_MATCH_LISTS, *_MATCH_TEXTS})
    _require(len(body) == 1, place, "exactly one kind of match", body, example)
    ((name, value),) = body.items()
    at = f"{place}.{name}"
    if name in _MATCH_TEXTS:
        _text(value, at, '{"key": "title", "match": {"' + name + '": "heart"}}')
    elif name == "value":
        fits = isinstance(value, str | bool) or _is_integer(value)
        _require(fits, at, "text, a whole number, true or false", value, example)
    else:
        one_kind = isinstance(value, list) and (
            all(isinstance(item, str) for item in value) or all(map(_is_integer, value))
        )
        example = '{"key": "lang", "match": {"' + name + '": ["en", "de"]}}'
        _require(one_kind, at, "a list of texts or of whole numbers", value, example)


def _check_range(body: Any, place: str) -> None:
    example = _EXAMPLES["range"]
    bounds = _object(body, place, example, {"gt", "gte", "lt", "lte"})
    given = {name: value for name, value in bounds.items() if value is not None}
    _require(bool(given), place, "at least one of gt, gte, lt, lte", body, example)
    times = [isinstance(value, str) for value in given.values()]
    for name, value in given.items():
        fits = _is_time(value) if all(times) else _is_number(value)
        what = "a number or an RFC 3339 time" if not any(times) or all(times) else "of one kind"
        _require(fits, f"{place}.{name}", what, value, example)


def _check_values_count(body: Any, place: str) -> None:
    example = _EXAMPLES["values_count"]
    bounds = _object(body, place, example, {"gt", "gte", "lt", "lte"})
    given = {name: value for name, value in bounds.items() if value is not None}
    _require(bool(given), place, "at least one of gt, gte, lt, lte", body, example)
    for name, value in given.items():
        _require(_is_count(value), f"{place}.{name}", "a whole number", value, example)


def _check_geo_radius(body: Any, place: str) -> None:
    example = _EXAMPLES["geo_radius"]
    body = _object(body, place, example, {"center", "radius"}, all_=True)
    _check_point(body["center"], f"{place}.center", example)
    _require(_is_number(body["radius"]), f"{place}.radius", "metres", body["radius"], example)


def _check_geo_bounding_box(body: Any, place: str) -> None:
    example = _EXAMPLES["geo_bounding_box"]
    body = _object(body, place, example, {"top_left", "bottom_right"}, all_=True)
    for corner in ("top_left", "bottom_right"):
        _check_point(body[corner], f"{place}.{corner}", example)


def _check_geo_polygon(body: Any, place: str) -> None:
    example = _EXAMPLES["geo_polygon"]
    body = _object(body, place, example, {"exterior", "interiors"})
    rings = [("exterior", body.get("exterior"))]
    rings += [(f"interiors[{i}]", ring) for i, ring in enumerate(body.get("interiors") or [])]
    for name, ring in rings:
        at = f"{place}.{name}"
        points = _object(ring, at, example, {"points"}, all_=True)["points"]
        closed = isinstance(points, list) and len(points) > 3 and points[0] == points[-1]
        _require(closed, at, "4 points or more, the last equal to the first", points, example)
        for point in points:
            _check_point(point, at, example)


def _check_point(point: Any, place: str, example: str) -> None:
    body = _object(point, place, example, {"lon", "lat"}, all_=True)
    fits = all(map(_is_number, body.values()))
    fits = fits and abs(body["lon"]) <= 180 and abs(body["lat"]) <= 90
    _require(fits, place, "a longitude and a latitude", point, example)


def _check_flag(body: Any, place: str) -> None:
    _require(isinstance(body, bool), place, "true or false", body, _EXAMPLES["is_empty"])


_FIELD_CHECKS: dict[str, Callable[[Any, str], None]] = {
    "match": _check_match,
    "range": _check_range,
    "geo_radius": _check_geo_radius,
    "geo_bounding_box": _check_geo_bounding_box,
    "geo_polygon": _check_geo_polygon,
    "values_count": _check_values_count,
    "is_empty": _check_flag,
    "is_null": _check_flag,
}


def _check_point_ids(ids: list[Any], place: str) -> None:
    for number, point_id in enumerate(ids):
        try:
            canonical_id(point_id)
        except InvalidInput as error:
            raise _invalid(f"{place}[{number}]", f"is {point_id!r}; expected a UUID", "") from error


def _check_document_ids(ids: list[Any], place: str) -> None:
    for number, document_id in enumerate(ids):
        at = f"{place}[{number}]"
        _text(document_id, at, _EXAMPLES["has_id"])


def _refuse_ids(ids: list[Any], place: str) -> None:
    raise _invalid(place, "stands inside 'nested', where an element has no id", "")


def _prefixed_filter(filter: Json, prefix: str) -> Json:
    result: Json = {}
    for name, clause in filter.items():
        if clause is None:
            continue
        if name == "min_should":
            conditions = [_prefixed_condition(item, prefix) for item in clause["conditions"]]
            result[name] = {**clause, "conditions": conditions}
        else:
            result[name] = [_prefixed_condition(item, prefix) for item in as_list(clause)]
    return result


def _prefixed_condition(condition: Json, prefix: str) -> Json:
    if "key" in condition:
        return {**condition, "key": prefix + condition["key"]}
    if "has_id" in condition:
        return {"key": DOCUMENT_ID, "match": {"any": list(condition["has_id"])}}
    if "has_vector" in condition:
        return condition
    for name in ("is_empty", "is_null", "nested"):
        if name in condition:
            body = condition[name]
            return {name: {**body, "key": prefix + body["key"]}}
    return _prefixed_filter(condition, prefix)


def _object(
    value: Any, place: str, example: str, allowed: set[str], *, all_: bool = False
) -> Mapping[str, Any]:
    _require(isinstance(value, Mapping), place, "an object", value, example)
    if unknown := sorted(str(name) for name in set(value) - allowed):
        names = ", ".join(sorted(allowed))
        raise _invalid(place, f"holds '{unknown[0]}'; expected {names}", example)
    if all_ and (absent := sorted(allowed - set(value))):
        raise _invalid(place, f"lacks '{absent[0]}'", example)
    body: Mapping[str, Any] = value
    return body


def _text(value: Any, place: str, example: str) -> None:
    _require(isinstance(value, str) and bool(value), place, "text", value, example)


def _require(fits: bool, place: str, expected: str, value: Any, example: str) -> None:
    if not fits:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
        raise _invalid(place, f"is {shown}; expected {expected}", example)


def _invalid(place: str, what: str, example: str) -> InvalidFilter:
    where = f"The filter, at {place}," if place else "The filter"
    return InvalidFilter(f"{where} {what}.", next_step=f"For example: {example}" if example else "")


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_count(value: Any) -> bool:
    return _is_integer(value) and value >= 0


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= 1.7976931348623157e308  # neither NaN nor infinite


def _is_time(value: Any) -> bool:
    for parse in (datetime.fromisoformat, date.fromisoformat):
        try:
            parse(value)
        except ValueError:
            continue
        return len(value) >= len("2020-01-01")
    return False
