"""The distinct queries of training examples, with all that is known to answer each."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

from lockstep.errors import InvalidInput
from lockstep_indexer.train.data.examples import Example, TrainingData
from lockstep_indexer.train.negatives.passages import Passages, text_key


@dataclass
class Query:
    """One query. `barred` are the places of passages that answer it, or stand beside such."""

    text: str  # as its first example has it
    answers: list[str] = field(default_factory=list)  # distinct ones, of all its examples
    barred: set[int] = field(default_factory=set)
    examples: list[Example] = field(default_factory=list)


@dataclass(frozen=True)
class Queries:
    """What negatives are to be found for."""

    all: Sequence[Query]
    judged_irrelevant: int  # examples that are no pairs: passages judged not to answer
    strangers: int  # answers that the corpus does not hold
    with_titles: int  # answers that the corpus holds as its models read them
    without_titles: int  # answers that it holds as the text alone, below a title

    @property
    def titled(self) -> bool:
        """Whether answers have their titles, so that negatives must have them too."""
        return self.with_titles >= self.without_titles

    def __len__(self) -> int:
        return len(self.all)


def queries_of(data: TrainingData, passages: Passages, held_out: Set[str]) -> Queries:
    """Group examples by their query; passages of `held_out` documents are barred to all.

    An answer bars what has its text, and every passage of its document, however many documents hold
    that text. Raises InvalidInput for examples that hold no queries.
    """
    if not data.kind.is_retrieval:
        raise InvalidInput(
            f"Examples of kind '{data.kind}' have no query and answer to find negatives for.",
            next_step="Give a file of pairs: one query and one passage that answers it in a row.",
        )
    out = passages.held_out(held_out)
    found: dict[bytes, Query] = {}
    tally = _Tally(passages)
    irrelevant = 0
    for example in data.examples:
        if example.score is not None and example.score <= 0:
            irrelevant += 1
            continue
        query = found.setdefault(text_key(example.query), Query(example.query, barred={*out}))
        tally.add(query, example)
    if not found:
        raise InvalidInput(
            f"None of the {len(data):,} examples is a query with a passage that answers it.",
            next_step="Give a file of pairs, or of judgments above 0.",
        )
    return Queries(
        list(found.values()), irrelevant, tally.strangers, tally.with_titles, tally.without_titles
    )


@dataclass
class _Tally:
    """Each answer is looked up in the corpus once, and counted."""

    passages: Passages
    strangers: int = 0
    with_titles: int = 0
    without_titles: int = 0
    _known: dict[tuple[bytes, str], "_Place"] = field(default_factory=dict)

    def add(self, query: Query, example: Example) -> None:
        key = text_key(example.passage)
        if key not in map(text_key, query.answers):
            query.answers.append(example.passage)
        if (key, example.group) not in self._known:
            self._known[key, example.group] = self._place_of(key, example.group)
        place = self._known[key, example.group]
        query.barred |= place.barred
        query.examples.append(replace(example, group=place.document_id or example.group))

    def _place_of(self, key: bytes, group: str) -> "_Place":
        found = self.passages.by_text.get(key, [])
        self._count_titles(key, found)
        # What has the same text below another title answers as well.
        same = {other for place in found for other in self.passages.repeating(place)}
        documents = [self.passages.all[place].document_id for place in found]
        documents += self.passages.documents_by_text.get(key, ())
        if group in self.passages.by_document:
            documents.insert(0, group)
        self.strangers += not documents
        beside = {*documents, *(self.passages.all[place].document_id for place in same)}
        return _Place(documents[0] if documents else "", self.passages.of_documents(beside) | same)

    def _count_titles(self, key: bytes, found: Sequence[int]) -> None:
        for place in found[:1]:
            one = self.passages.all[place]
            titled = one.text != one.encoded_text
            self.with_titles += titled and key == text_key(one.encoded_text)
            self.without_titles += titled and key == text_key(one.text)


@dataclass(frozen=True)
class _Place:
    """Where an answer stands in the corpus."""

    document_id: str  # empty where it does not
    barred: set[int]
