"""What every request body refuses, and the values that several bodies have."""

from difflib import get_close_matches
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lockstep.corpus.documents import MAX_ID_BYTES, shown


def checked(**limits: Any) -> Any:
    """Limits as OpenAPI tells them, of a value whose own class checks them and says more."""
    return Field(json_schema_extra=limits)


NO_NUL = r"^[^\u0000]*$"

Metadata = dict[str, Any]
DocumentId = Annotated[
    StrictStr, Field(max_length=MAX_ID_BYTES), checked(minLength=1, pattern=NO_NUL)
]
Reason = Annotated[StrictStr, Field(max_length=2_000)]
VersionNumber = Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]


class Body(BaseModel):
    """A request body, which must not hold a field that means nothing."""

    model_config = ConfigDict(extra="forbid")

    hints: ClassVar[dict[str, str]] = {}
    other_fields_hint: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        known = cls.model_fields
        unknown = [name for name in data if name not in known] if isinstance(data, dict) else []
        if unknown:
            near = get_close_matches(shown(unknown[0]), known, n=1)
            meant = f"Did you mean '{near[0]}'? " if near else ""
            hint = meant + cls.hints.get(unknown[0], cls.other_fields_hint)
            raise PydanticCustomError(
                "unknown_field",
                "Unknown field '{name}'; expected some of {known}. {hint}",
                {"name": printable(unknown[0]), "known": ", ".join(known), "hint": hint},
            )
        return data


def printable(name: str) -> str:
    """A name short enough for a message, without the lone surrogates that pydantic fails on."""
    return shown(name).encode(errors="replace").decode()
