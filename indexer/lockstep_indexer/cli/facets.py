"""Facets and boosts on the command line: how they are asked for, and how facets look."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from lockstep.errors import InvalidInput
from lockstep_indexer.cli.render import printable, table
from lockstep_indexer.cli.search_options import RANKING, SHOWING

if TYPE_CHECKING:
    from lockstep.search.boosts import Boost
    from lockstep.search.facets import Facet
    from lockstep.search.request import SearchResponse

_BOOST_FORMS = "recency:FIELD:30d:0.3 or popularity:FIELD:1000:0.2"
_COUNT = re.compile(r"[0-9]{1,9}")
_DAYS = {"d": 1.0, "h": 1 / 24, "w": 7.0}


def facet(text: str) -> "Facet":
    """FIELD or FIELD:LIMIT."""
    from lockstep.search.facets import Facet

    field, _, limit = text.rpartition(":")
    try:
        return Facet(field, int(limit)) if _COUNT.fullmatch(limit) else Facet(text)
    except InvalidInput as error:
        raise typer.BadParameter(error.message) from error


def boost(text: str) -> "Boost":
    """recency:FIELD:HALF_LIFE:WEIGHT or popularity:FIELD:MIDPOINT:WEIGHT."""
    from lockstep.search.boosts import PopularityBoost, RecencyBoost

    kind, _, rest = text.partition(":")
    parts = rest.rsplit(":", 2)
    if kind not in (RecencyBoost.kind, PopularityBoost.kind) or len(parts) != 3:
        raise typer.BadParameter(f"'{text}' is no boost; expected {_BOOST_FORMS}.")
    field, scale, weight = parts
    try:
        if kind == RecencyBoost.kind:
            return RecencyBoost(field, _days(scale), float(weight))
        return PopularityBoost(field, float(scale), float(weight))
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' holds no number: expected {_BOOST_FORMS}.") from error
    except InvalidInput as error:
        raise typer.BadParameter(error.message) from error


def _days(text: str) -> float:
    unit = text[-1:]
    return float(text[:-1]) * _DAYS[unit] if unit in _DAYS else float(text)


FacetOption = Annotated[
    list[object] | None,
    typer.Option(
        "--facet",
        parser=facet,
        metavar="FIELD[:N]",
        help="Count the values of an indexed metadata field, over all documents that the filter "
        "matches. May be repeated.",
        show_default=False,
        rich_help_panel=SHOWING,
    ),
]
BoostOption = Annotated[
    list[object] | None,
    typer.Option(
        "--boost",
        parser=boost,
        metavar="KIND:FIELD:SCALE:WEIGHT",
        help=f"Bring up what is recent or popular: {_BOOST_FORMS}, that is a half-life or a "
        "midpoint, and a weight. May be repeated.",
        show_default=False,
        rich_help_panel=RANKING,
    ),
]


def facet_tables(answer: "SearchResponse") -> Iterator[RenderableType]:
    """A small table for each facet."""
    for field, counts in (answer.facets or {}).items():
        drawn = table(escape(printable(field)), "documents", right=["documents"])
        for each in counts:
            value = each.value
            shown = str(value).lower() if isinstance(value, bool) else printable(str(value))
            drawn.add_row(Text(shown or '""', "name"), f"{each.count:,}")
        if not counts:
            drawn.add_row(Text("none", "faint"), "")
        yield drawn
