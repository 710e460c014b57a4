"""The conditions of a filter: what each kind must look like, and a refusal that shows it."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any

from lockstep.errors import InvalidFilter
from lockstep.store.payload_indexes import is_path

INTEGERS = "from -2^63 to 2^63 - 1"
COUNT = "a whole number from 0 to 2^63 - 1"

EXAMPLES = {
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


def check_field(condition: Mapping[str, Any], place: str) -> None:
    check_key(condition["key"], f"{place}.key", EXAMPLES["match"])
    given = [name for name, value in condition.items() if name != "key" and value is not None]
    unknown = [name for name in given if name not in _FIELD_CHECKS]
    if unknown or len(given) != 1:
        what = f"holds {_shown(unknown[0])}" if unknown else f"holds {len(given)} tests"
        raise invalid(
            place,
            f"{what} beside its key; expected one of {', '.join(_FIELD_CHECKS)}",
            EXAMPLES["match"],
            near=_nearest(unknown[0], _FIELD_CHECKS) if unknown else "",
        )
    name = given[0]
    _FIELD_CHECKS[name](condition[name], f"{place}.{name}")


_MATCH_LISTS = ("any", "except")
_MATCH_TEXTS = ("text", "text_any", "phrase", "prefix", "substring")


def _check_match(body: Any, place: str) -> None:
    example = EXAMPLES["match"]
    body = checked_object(body, place, example, {"value", *_MATCH_LISTS, *_MATCH_TEXTS})
    require(len(body) == 1, place, "exactly one kind of match", body, example)
    ((name, value),) = body.items()
    at = f"{place}.{name}"
    if name in _MATCH_TEXTS:
        check_text(value, at, '{"key": "title", "match": {"' + name + '": "heart"}}')
    elif name == "value":
        fits = isinstance(value, str | bool) or _is_integer(value)
        expected = f"text, true or false, or a whole number {INTEGERS}"
        require(fits, at, expected, value, example)
        _check_unicode(value, at, example)
    else:
        one_kind = isinstance(value, list) and (
            all(isinstance(item, str) for item in value) or all(map(_is_integer, value))
        )
        example = '{"key": "lang", "match": {"' + name + '": ["en", "de"]}}'
        expected = f"a list of texts or of whole numbers {INTEGERS}"
        require(one_kind, at, expected, value, example)
        for number, item in enumerate(value):
            _check_unicode(item, f"{at}[{number}]", example)


def _check_range(body: Any, place: str) -> None:
    example = EXAMPLES["range"]
    bounds = checked_object(body, place, example, {"gt", "gte", "lt", "lte"})
    given = {name: value for name, value in bounds.items() if value is not None}
    require(bool(given), place, "at least one of gt, gte, lt, lte", body, example)
    times = [isinstance(value, str) for value in given.values()]
    for name, value in given.items():
        fits = _is_time(value) if all(times) else _is_number(value)
        what = "a number or an RFC 3339 time" if not any(times) or all(times) else "of one kind"
        require(fits, f"{place}.{name}", what, value, example)


def _check_values_count(body: Any, place: str) -> None:
    example = EXAMPLES["values_count"]
    bounds = checked_object(body, place, example, {"gt", "gte", "lt", "lte"})
    given = {name: value for name, value in bounds.items() if value is not None}
    require(bool(given), place, "at least one of gt, gte, lt, lte", body, example)
    for name, value in given.items():
        require(is_count(value), f"{place}.{name}", COUNT, value, example)


def _check_geo_radius(body: Any, place: str) -> None:
    example = EXAMPLES["geo_radius"]
    body = checked_object(body, place, example, {"center", "radius"}, all_=True)
    _check_point(body["center"], f"{place}.center", example)
    require(_is_number(body["radius"]), f"{place}.radius", "metres", body["radius"], example)


def _check_geo_bounding_box(body: Any, place: str) -> None:
    example = EXAMPLES["geo_bounding_box"]
    body = checked_object(body, place, example, {"top_left", "bottom_right"}, all_=True)
    for corner in ("top_left", "bottom_right"):
        _check_point(body[corner], f"{place}.{corner}", example)


def _check_geo_polygon(body: Any, place: str) -> None:
    example = EXAMPLES["geo_polygon"]
    body = checked_object(body, place, example, {"exterior", "interiors"})
    rings = [("exterior", body.get("exterior"))]
    rings += [(f"interiors[{i}]", ring) for i, ring in enumerate(body.get("interiors") or [])]
    for name, ring in rings:
        at = f"{place}.{name}"
        points = checked_object(ring, at, example, {"points"}, all_=True)["points"]
        closed = isinstance(points, list) and len(points) > 3 and points[0] == points[-1]
        require(closed, at, "4 points or more, the last equal to the first", points, example)
        for point in points:
            _check_point(point, at, example)


def _check_point(point: Any, place: str, example: str) -> None:
    body = checked_object(point, place, example, {"lon", "lat"}, all_=True)
    fits = all(map(_is_number, body.values()))
    fits = fits and abs(body["lon"]) <= 180 and abs(body["lat"]) <= 90
    require(fits, place, "a longitude and a latitude", point, example)


def _check_flag(body: Any, place: str) -> None:
    require(isinstance(body, bool), place, "true or false", body, EXAMPLES["is_empty"])


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


def checked_object(
    value: Any, place: str, example: str, allowed: set[str], *, all_: bool = False
) -> Mapping[str, Any]:
    require(isinstance(value, Mapping), place, "an object", value, example)
    if unknown := sorted(str(name) for name in set(value) - allowed):
        what = f"holds {_shown(unknown[0])}; expected {', '.join(sorted(allowed))}"
        raise invalid(place, what, example, near=_nearest(unknown[0], allowed))
    if all_ and (absent := sorted(allowed - set(value))):
        raise invalid(place, f"lacks '{absent[0]}'", example)
    body: Mapping[str, Any] = value
    return body


def check_text(value: Any, place: str, example: str) -> None:
    require(isinstance(value, str) and bool(value), place, "text", value, example)
    _check_unicode(value, place, example)


def check_key(value: Any, place: str, example: str) -> None:
    """Raise InvalidFilter where this is no path to a payload field."""
    check_text(value, place, example)
    expected = 'a field: lang, author.name, authors[].name, or "in print" with its double quotes'
    require(is_path(value), place, expected, value, example)


def require(fits: bool, place: str, expected: str, value: Any, example: str) -> None:
    if not fits:
        raise invalid(place, f"is {_shown(value)}; expected {expected}", example)


def invalid(place: str, what: str, example: str, *, near: str = "") -> InvalidFilter:
    """The error that names the place and shows the right form, and the name `near` a wrong one."""
    where = f"The filter, at {place}," if place else "The filter"
    meant = f" Did you mean '{near}'?" if near else ""
    return InvalidFilter(
        f"{where} {what}.{meant}", next_step=f"For example: {example}" if example else ""
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _nearest(name: str, names: Iterable[str]) -> str:
    return next(iter(get_close_matches(name[:80], list(names), n=1)), "")


def _check_unicode(value: Any, place: str, example: str) -> None:
    if isinstance(value, str):
        fits = not any("\ud800" <= letter <= "\udfff" for letter in value)
        require(fits, place, "text without a lone surrogate", value, example)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_count(value: Any) -> bool:
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
