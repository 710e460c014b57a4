"""The options that say how an index version is built, shared by `reindex` and `plan`."""

from collections.abc import Mapping
from typing import Annotated, Literal, cast

import typer

from lockstep.errors import InvalidInput
from lockstep.store.payload_indexes import PAYLOAD_TYPES, PayloadType, check_payload_indexes

_PANEL = "How it is built"

DeclaredIndex = tuple[str, str]


def declared_index(text: str) -> DeclaredIndex:
    """A metadata field and the type of its index, as FIELD:TYPE."""
    field, colon, kind = text.rpartition(":")
    if not colon:
        raise typer.BadParameter(
            f"'{text}' names no type; expected FIELD:TYPE, with one of {', '.join(PAYLOAD_TYPES)}."
        )
    try:
        check_payload_indexes({field: kind})
    except InvalidInput as error:
        raise typer.BadParameter(error.message) from error
    return field, kind


def payload_indexes(declared: list[DeclaredIndex] | None) -> dict[str, PayloadType]:
    """Raises BadParameter where a field has two types."""
    indexes = dict(declared or [])
    for field, kind in declared or []:
        if indexes[field] != kind:
            types = f"{kind} and {indexes[field]}"
            raise typer.BadParameter(f"--index gives '{field}' two types: {types}.")
    return cast(dict[str, PayloadType], indexes)


def indexed_fields(indexes: Mapping[str, str]) -> str:
    """Payload indexes as they are declared: lang:keyword year:integer."""
    return " ".join(f"{field}:{kind}" for field, kind in indexes.items())


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="REF",
        help="name@version, name (the newest), or a folder, which is added first.",
        show_default=False,
    ),
]
PrefilterOption = Annotated[
    int | None,
    typer.Option(
        "--prefilter-dim",
        min=0,
        metavar="N",
        help="Dimensions of the prefilter; 0 for none. "
        "By default 64 where the model was trained with Matryoshka.",
        rich_help_panel=_PANEL,
    ),
]
WindowOption = Annotated[
    int | None,
    typer.Option(
        "--window-tokens",
        min=8,
        metavar="N",
        help="Tokens per passage, at most. By default all that the model can see.",
        rich_help_panel=_PANEL,
    ),
]
LanguageOption = Annotated[
    str,
    typer.Option("--language", help="Language of the BM25 stemmer.", rich_help_panel=_PANEL),
]
DatatypeOption = Annotated[
    Literal["float32", "float16"],
    typer.Option("--dtype", help="How vectors are stored: 4 or 2 bytes.", rich_help_panel=_PANEL),
]
QuantizationOption = Annotated[
    Literal["none", "int8"],
    typer.Option(
        "--quantization",
        help="Search a copy of one byte a number, kept in memory; the best are scored in full.",
        rich_help_panel=_PANEL,
    ),
]
LateInteractionOption = Annotated[
    str | None,
    typer.Option(
        "--late-interaction",
        metavar="REF",
        help="Keep the vectors of all tokens that this model gives, to rerank by; it is of the "
        "kind late-interaction. A hundred times the storage.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Fp8Option = Annotated[
    bool,
    typer.Option(
        "--fp8",
        help="Let a card of compute capability 8.9 or newer multiply in eight bits. For large "
        "models; vectors are a little off (cosine 0.99 at least), the gates tell what it costs.",
        rich_help_panel=_PANEL,
    ),
]
IndexOption = Annotated[
    list[tuple] | None,  # type: ignore[type-arg]  # Typer wants a plain class beside a parser
    typer.Option(
        "--index",
        parser=declared_index,
        metavar="FIELD:TYPE",
        help=f"Index a metadata field, for filters and facets; types: {', '.join(PAYLOAD_TYPES)}. "
        "May be repeated. Every reindex names all that it wants.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
