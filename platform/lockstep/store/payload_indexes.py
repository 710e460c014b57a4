"""Which payload fields a collection can look up by value, and how such a field is written."""

import re
from collections.abc import Mapping
from typing import Literal, get_args

from lockstep.errors import InvalidInput

PayloadType = Literal["keyword", "integer", "float", "bool", "datetime", "text", "uuid"]
PAYLOAD_TYPES: tuple[str, ...] = get_args(PayloadType)
# Those whose values the engines count.
COUNTED_TYPES = frozenset({"keyword", "integer", "bool", "uuid"})

MAX_INDEXES = 32
MAX_FIELD_LENGTH = 200
# What every engine reads as a path: names, in double quotes where they hold other characters, and
# `[]` after one whose value is a list of objects.
_NAME = r'(?:[\w-]+|"[^"\\\x00-\x1f\x7f]+")'
_FIELD = re.compile(rf"{_NAME}(?:(?:\[\])?\.{_NAME})*")

# What a filter may name besides: elements of lists.
_PLACE = re.compile(rf"{_NAME}(?:\[\d{{0,9}}\])*(?:\.{_NAME}(?:\[\d{{0,9}}\])*)*")


def is_path(key: str) -> bool:
    """Whether every engine reads a filter's key as a path into the payload."""
    return _PLACE.fullmatch(key) is not None


def check_field(field: object, place: str) -> None:
    """Raise InvalidInput, naming the place, where this is no path to a field."""
    fits = isinstance(field, str) and len(field) <= MAX_FIELD_LENGTH and _FIELD.fullmatch(field)
    if not fits:
        shown = repr(field) if len(repr(field)) <= 80 else f"{repr(field)[:80]}…"
        raise InvalidInput(
            f"{place} is {shown}; expected a metadata field, of {MAX_FIELD_LENGTH} characters at "
            'most: lang, author.name, authors[].name, or "in print" with its double quotes.'
        )


def check_payload_indexes(indexes: object) -> None:
    """Raise InvalidInput where these are not payload indexes: a type by field."""
    if not isinstance(indexes, Mapping):
        raise InvalidInput(f"payload_indexes is {indexes!r}; expected a type by field.")
    if len(indexes) > MAX_INDEXES:
        raise InvalidInput(f"There are {len(indexes)} payload indexes; at most {MAX_INDEXES}.")
    for field, kind in indexes.items():
        check_field(field, "The field of a payload index")
        if kind not in PAYLOAD_TYPES:
            raise InvalidInput(
                f"The payload index of '{field}' has the type '{kind}'; expected one of "
                f"{', '.join(PAYLOAD_TYPES)}."
            )
