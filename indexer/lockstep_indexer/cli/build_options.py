"""The options that say how an index version is built, shared by `reindex` and `plan`."""

from typing import Annotated, Literal

import typer

_PANEL = "How it is built"

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
        help="A smaller copy in memory, rescored in full.",
        rich_help_panel=_PANEL,
    ),
]
