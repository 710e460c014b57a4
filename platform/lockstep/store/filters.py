"""Qdrant's filter JSON: what may be in it, said before any engine has to guess.

`check_filter` is stricter than the engines: each of them ignores something that the others
refuse. What passes here is read by all of them; how `text` is cut into words is the engine's.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lockstep.errors import InvalidFilter, InvalidInput
from lockstep.store.checks import canonical_id
from lockstep.store.conditions import (
    COUNT,
    EXAMPLES,
    check_field,
    check_key,
    check_text,
    checked_object,
    invalid,
    is_count,
    require,
)
from lockstep.store.port import DOCUMENT_ID, Json

MAX_DEPTH = 16
# Of a filter that a user sends: an engine looks at each condition of it for each point.
MAX_PARTS = 1_000  # objects: a condition on a key is two of them
MAX_VALUES = 10_000  # in the lists of any, except, has_id and geo_polygon, all together
MAX_TEXT_BYTES = 16_384  # of one key or text
_EXAMPLE = '{"must": [{"key": "year", "range": {"gte": 2020}}]}'
CLAUSES = ("must", "should", "must_not")


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
    _check_size(filter)
    _walk_filter(filter, "", 0, _check_document_ids)
    return _prefixed_filter(filter, prefix)


def as_list(conditions: Any) -> list[Any]:
    """The conditions of a clause, which may be one object or a list of them."""
    return conditions if isinstance(conditions, list) else [conditions]


_CheckIds = Callable[[Any, str], None]


def _check_size(filter: object) -> None:
    """Raise InvalidFilter for one that is too large to be looked at more closely."""
    parts, values, left = 0, 0, [filter]
    while left:
        item = left.pop()
        if isinstance(item, Mapping):
            parts += 1
            left.extend(item.keys())
            left.extend(item.values())
        elif isinstance(item, list):
            values += len(item)
            left.extend(item)
        elif isinstance(item, str) and len(item.encode(errors="replace")) > MAX_TEXT_BYTES:
            raise InvalidFilter(
                f"The filter holds a text of more than {MAX_TEXT_BYTES:,} bytes, which is the most."
            )
        if parts > MAX_PARTS or values > MAX_VALUES:
            raise InvalidFilter(
                f"The filter has more than {MAX_PARTS:,} parts or {MAX_VALUES:,} values in lists, "
                "which is the most.",
                next_step="Ask for less at once, or give the documents a field that says the same.",
            )


def _walk_filter(filter: object, place: str, depth: int, check_ids: _CheckIds) -> None:
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"The filter is nested more than {MAX_DEPTH} deep at {place}.")
    clauses = checked_object(filter, place, _EXAMPLE, {*CLAUSES, "min_should"})
    for name in CLAUSES:
        if clauses.get(name) is not None:
            _walk_clause(clauses[name], _at(place, name), depth, check_ids)
    if clauses.get("min_should") is not None:
        at, example = _at(place, "min_should"), EXAMPLES["min_should"]
        body = checked_object(
            clauses["min_should"], at, example, {"conditions", "min_count"}, all_=True
        )
        require(is_count(body["min_count"]), f"{at}.min_count", COUNT, body["min_count"], example)
        conditions = body["conditions"]
        require(isinstance(conditions, list), f"{at}.conditions", "a list", conditions, example)
        _walk_clause(conditions, f"{at}.conditions", depth, check_ids)


def _walk_clause(clause: Any, place: str, depth: int, check_ids: _CheckIds) -> None:
    for number, condition in enumerate(as_list(clause)):
        at = f"{place}[{number}]" if isinstance(clause, list) else place
        _walk_condition(condition, at, depth, check_ids)


def _walk_condition(condition: Any, place: str, depth: int, check_ids: _CheckIds) -> None:
    require(isinstance(condition, Mapping), place, "a condition", condition, EXAMPLES["match"])
    if "key" in condition:
        check_field(condition, place)
    elif "has_id" in condition:
        body = checked_object(condition, place, EXAMPLES["has_id"], {"has_id"})
        at = f"{place}.has_id"
        ids = body["has_id"]
        require(isinstance(ids, list), at, "a list", ids, EXAMPLES["has_id"])
        check_ids(ids, at)
    elif "has_vector" in condition:
        body = checked_object(condition, place, EXAMPLES["has_vector"], {"has_vector"})
        check_text(body["has_vector"], f"{place}.has_vector", EXAMPLES["has_vector"])
    elif "is_empty" in condition or "is_null" in condition:
        name = "is_empty" if "is_empty" in condition else "is_null"
        body = checked_object(condition, place, EXAMPLES[name], {name})[name]
        at = f"{place}.{name}"
        key = checked_object(body, at, EXAMPLES[name], {"key"}, all_=True)["key"]
        check_key(key, f"{at}.key", EXAMPLES[name])
    elif "nested" in condition:
        example = EXAMPLES["nested"]
        body = checked_object(condition, place, example, {"nested"})["nested"]
        at = f"{place}.nested"
        body = checked_object(body, at, example, {"key", "filter"}, all_=True)
        check_key(body["key"], f"{at}.key", example)
        _walk_filter(body["filter"], f"{at}.filter", depth + 1, _refuse_ids)
    else:
        _walk_filter(condition, place, depth + 1, check_ids)


def _check_point_ids(ids: list[Any], place: str) -> None:
    for number, point_id in enumerate(ids):
        try:
            canonical_id(point_id)
        except InvalidInput as error:
            raise invalid(f"{place}[{number}]", f"is {point_id!r}; expected a UUID", "") from error


def _check_document_ids(ids: list[Any], place: str) -> None:
    for number, document_id in enumerate(ids):
        at = f"{place}[{number}]"
        check_text(document_id, at, EXAMPLES["has_id"])


def _refuse_ids(ids: list[Any], place: str) -> None:
    raise invalid(place, "stands inside 'nested', where an element has no id", "")


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


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
