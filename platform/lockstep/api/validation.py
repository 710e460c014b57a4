"""What is wrong with a request's fields, in the words of the request.

Where a field may be of several kinds, pydantic tells what is wrong with each of them, under names
of its own. Told here is what is wrong with the kind that was sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

# By the type of a pydantic error that says: this is not of the kind.
_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}

Place = tuple[str | int, ...]


class FieldProblem(BaseModel):
    """One part of a request that cannot be used."""

    field: str
    message: str


def field_problems(errors: Sequence[Any], body: Any) -> list[FieldProblem]:
    """The problems of a request with this body, each once."""
    groups: dict[tuple[Place, ...], list[tuple[Place, str, Any]]] = {}
    for error in errors:
        place, union, kind = _located(error, body)
        groups.setdefault(union, []).append((place, kind, error))
    return [problem for union, found in groups.items() for problem in _told(union, found)]


def _located(error: Any, body: Any) -> tuple[Place, tuple[Place, ...], str]:
    """Where in the request it is; if inside a union, where that is, and which of its kinds."""
    where, *path = error["loc"]
    if where != "body":
        return tuple(error["loc"]), (), ""
    place: list[str | int] = []
    union: tuple[Place, ...] = ()
    kind, value = "", body
    for number, step in enumerate(path):
        if isinstance(value, Mapping | list) and _holds(value, step):
            value = value[step]
        elif error["type"] != "missing" or number < len(path) - 1:
            union, kind = union or (tuple(place),), kind or str(step)
            continue
        place.append(step)
    return tuple(place), union, kind


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return step in value


def _told(
    union: tuple[Place, ...], found: Sequence[tuple[Place, str, Any]]
) -> Iterator[FieldProblem]:
    """Of a union, the problems of the kinds that fit, or one that names all kinds."""
    if union:
        [at] = union
        other = {kind for place, kind, error in found if place == at and error["type"] in _KINDS}
        fitting = [each for each in found if each[1] not in other]
        if not fitting:
            names = dict.fromkeys(_KINDS[error["type"]] for _, _, error in found)
            yield FieldProblem(field=_name(at), message=f"Input should be {', or '.join(names)}")
            return
        found = fitting
    for place, _, error in found:
        yield _problem(place, error)


def _problem(place: Place, error: Any) -> FieldProblem:
    if error["type"] == "json_invalid":
        at = error["loc"][1]
        reason = error["ctx"]["error"]
        return FieldProblem(field="body", message=f"This is not JSON: {reason}, at {at}.")
    if error["type"] == "unknown_field":
        place = (*place, error["ctx"]["name"])
    return FieldProblem(field=_name(place), message=_message(error))


def _message(error: Any) -> str:
    if error["type"] in ("dict_type", "model_type", "model_attributes_type"):
        return "Input should be an object"
    if error["type"] == "union_tag_invalid":
        of = error["ctx"]
        return f"Field {of['discriminator']} is '{of['tag']}'; expected {of['expected_tags']}"
    return str(error["msg"]).strip()


def _name(place: Place) -> str:
    return ".".join(map(str, place)) or "body"
