"""Facets: how many documents have each value of a metadata field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep.errors import InvalidInput, SearchUnsupported
from lockstep.index.rebuilding import another_type, reindex_command
from lockstep.store.payload_indexes import COUNTED_TYPES, check_field
from lockstep.store.port import METADATA, PASSAGE, FacetCount, Json, VectorStore

if TYPE_CHECKING:
    from lockstep.index.generation import Generation

MAX_FACETS = 10
MAX_VALUES = 100

FacetCounts = dict[str, list[FacetCount]]


@dataclass(frozen=True)
class Facet:
    """Asks for the `limit` most frequent values of a metadata field. Raises InvalidInput."""

    field: str
    limit: int = 10

    def __post_init__(self) -> None:
        check_field(self.field, "The field of a facet")
        if isinstance(self.limit, bool) or not isinstance(self.limit, int):
            raise InvalidInput(f"The limit of a facet is {self.limit!r}; expected a whole number.")
        if not 1 <= self.limit <= MAX_VALUES:
            raise InvalidInput(
                f"The limit of the facet '{self.field}' is {self.limit}; expected 1 to "
                f"{MAX_VALUES}."
            )


def checked_facets(facets: Sequence[Facet | str]) -> tuple[Facet, ...]:
    """The facets of one search, where a name alone asks for the default number of values.

    Raises InvalidInput.
    """
    if isinstance(facets, str) or not isinstance(facets, Sequence):
        raise InvalidInput(f"facets is {facets!r}; expected a list of fields.")
    if len(facets) > MAX_FACETS:
        raise InvalidInput(f"There are {len(facets)} facets; at most {MAX_FACETS} allowed.")
    named = tuple(each if isinstance(each, Facet) else Facet(each) for each in facets)
    fields = [each.field for each in named]
    if twice := next((field for field in fields if fields.count(field) > 1), None):
        raise InvalidInput(f"The facet '{twice}' is asked for twice; expected each field once.")
    return named


def require_countable(generation: "Generation", facets: Sequence[Facet]) -> None:
    """Raise SearchUnsupported where the index version was not built to count a field."""
    indexes = generation.version.spec.payload_indexes
    for facet in facets:
        if indexes.get(facet.field) not in COUNTED_TYPES:
            raise _uncountable(facet.field, generation)


def count_facets(
    generation: "Generation", store: VectorStore, facets: Sequence[Facet], condition: Json | None
) -> FacetCounts:
    """Count over all documents that the condition matches, whether a search finds them or not."""
    # Every document has exactly one passage of number 0.
    first = {"key": PASSAGE, "match": {"value": 0}}
    wanted = condition or {}
    documents = {**wanted, "must": [first, *(wanted.get("must") or [])]}
    return {
        facet.field: store.facet(
            generation.collection, f"{METADATA}.{facet.field}", limit=facet.limit, filter=documents
        )
        for facet in facets
    }


def _uncountable(field: str, generation: "Generation") -> SearchUnsupported:
    version, manifest = generation.version, generation.encoder.version.manifest
    indexes = version.spec.payload_indexes
    if field in indexes:
        has = f"its index is of type {indexes[field]}"
        next_step = another_type(version, manifest, field, "keyword", "count")
    else:
        has = "it has no index of it"
        next_step = reindex_command(version, manifest, indexes={field: "keyword"})
    return SearchUnsupported(
        f"Index {version.collection} cannot count the values of '{field}': {has}. It can count "
        f"{', '.join(_countable(indexes)) or 'none'}; expected an index of type "
        f"{', '.join(sorted(COUNTED_TYPES))}.",
        next_step=next_step,
    )


def _countable(indexes: Mapping[str, str]) -> list[str]:
    return [field for field, kind in indexes.items() if kind in COUNTED_TYPES]
