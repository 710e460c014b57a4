"""Contamination: what is asked in evaluation, or answers there, and is trained on as well.

A figure that was measured on questions which the model has been taught says nothing about others.
Found are queries and relevant passages of the evaluation that the training data repeats, exactly or
nearly. A passage that both sides merely hold in their corpus is none: it leaks where both sides
call it an answer.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lockstep.corpus.documents import Document, shown
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import Contaminated
from lockstep.index.passages import encoded_text
from lockstep.models.manifest import Json
from lockstep_indexer.train.data.examples import TrainingData
from lockstep_indexer.train.data.likeness import Matches, join, weigh_passages, weigh_queries, words
from lockstep_indexer.train.data.rewording import Difference, Rewording

Documents = Callable[[Sequence[str]], Mapping[str, Document]]

# Of the queries, or of the relevant passages. Up to here what leaks is to be left out and said.
TOLERANCE = 0.03
# Cosines. Queries this alike are looked at, and passages this alike are near-duplicates.
QUERIES_ALIKE = 0.6
PASSAGES_ALIKE = 0.9
# Queries that are merely alike are the same where their answers are this alike.
ANSWERS_ALIKE = 0.8
# Without such answers: from the first of these on which hardly any query has a twin of its own set.
_THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_TWINS = 0.005
_SHOWN = 10


@dataclass(frozen=True)
class HeldOut:
    """What a model is to be measured on."""

    pairs: Sequence[tuple[str, str]]  # a query, and a passage relevant to it: "" where unknown

    @classmethod
    def of(cls, data: TrainingData) -> "HeldOut":
        """Examples that are held out from training."""
        return cls([(one.query, one.passage) for one in data.examples])

    @classmethod
    def of_query_set(cls, query_set: QuerySet, documents: Documents) -> "HeldOut":
        """Judged queries; passages of documents that are gone are unknown."""
        relevant = [
            (query, document_id)
            for query_id, query in query_set.queries.items()
            for document_id, grade in query_set.judgments.get(query_id, {}).items()
            if grade > 0
        ]
        found = documents(sorted({document_id for _, document_id in relevant}))
        texts = {key: encoded_text(one.title, one.text) for key, one in found.items()}
        return cls([(query, texts.get(document_id, "")) for query, document_id in relevant])


@dataclass(frozen=True)
class Leak:
    """A text of the evaluation that training repeats."""

    what: str  # query, passage
    text: str
    train_text: str  # the closest
    similarity: float  # to that one; 0 to 1
    examples: tuple[int, ...]  # numbers of the training examples that repeat it

    @property
    def is_exact(self) -> bool:
        """Whether nothing but case, space and punctuation differs."""
        return words(self.text) == words(self.train_text)

    def to_json(self) -> Json:
        return {
            "what": self.what,
            "text": self.text,
            "train_text": self.train_text,
            "similarity": round(self.similarity, 4),
            "exact": self.is_exact,
        }


@dataclass(frozen=True)
class Contamination:
    """What leaks from an evaluation into training."""

    leaks: Sequence[Leak]  # the closest first
    queries: int  # different ones of the evaluation
    passages: int

    @cached_property
    def leaked_queries(self) -> int:
        return sum(one.what == "query" for one in self.leaks)

    @cached_property
    def leaked_passages(self) -> int:
        return sum(one.what == "passage" for one in self.leaks)

    @property
    def share(self) -> float:
        """Of the queries or of the passages, whichever is greater; 0 to 1."""
        return max(
            self.leaked_queries / max(1, self.queries),
            self.leaked_passages / max(1, self.passages),
        )

    @property
    def is_clean(self) -> bool:
        """Whether so little leaks that leaving it out of the training data settles it."""
        return self.share <= TOLERANCE

    @property
    def train_examples(self) -> frozenset[int]:
        """The numbers of the training examples that repeat something."""
        return frozenset(number for one in self.leaks for number in one.examples)

    def require_clean(self) -> None:
        """Raise Contaminated where more leaks than is tolerated."""
        if not self.is_clean:
            raise Contaminated(
                f"{self.summary()} For example {_example(self.leaks[0])}; at most "
                f"{TOLERANCE:.0%} are tolerated, and left out.",
                next_step="Split the data by document (`lockstep pairs check` shows what leaks), "
                "or allow it and do not trust the figures.",
            )

    def summary(self) -> str:
        """One sentence for people."""
        return (
            f"The training data repeats {self.leaked_queries:,} of {self.queries:,} queries and "
            f"{self.leaked_passages:,} of {self.passages:,} relevant passages of the evaluation."
        )

    def to_json(self) -> Json:
        return {
            "queries": self.queries,
            "leaked_queries": self.leaked_queries,
            "passages": self.passages,
            "leaked_passages": self.leaked_passages,
            "share": round(self.share, 4),
            "clean": self.is_clean,
            "leaks": [one.to_json() for one in self.leaks[:_SHOWN]],
        }


def find_leaks(train: TrainingData, held_out: HeldOut) -> Contamination:
    """Compare every query and relevant passage of an evaluation with the training examples."""
    mine = _Side(held_out.pairs)
    theirs = _Side([(one.query, one.passage) for one in train.examples])
    alike = _alike_passages(mine.passages, theirs.passages)
    near = [(*pair, value) for pair, value in alike.items() if value >= PASSAGES_ALIKE]
    leaks = [
        *_leaked("query", mine.queries, theirs.queries, _Judge(mine, theirs, alike).repeated()),
        *_leaked("passage", mine.passages, theirs.passages, near),
    ]
    leaks.sort(key=lambda leak: (-leak.similarity, leak.what != "query", leak.text))
    return Contamination(leaks, len(mine.queries), len(mine.passages))


def without_leaks(train: TrainingData, found: Contamination) -> TrainingData:
    """The training data without the examples that repeat what is held out; lineage says so."""
    dropped = found.train_examples
    if not dropped:
        return train
    kept = [one for number, one in enumerate(train.examples) if number not in dropped]
    return replace(train, examples=kept, lineage={**train.lineage, "left_out": len(dropped)})


class _Texts:
    """Different texts in the order in which they come; texts of the same words are one."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts: list[str] = []
        self.words: list[list[str]] = []
        self.owners: list[list[int]] = []  # of each, which of the given texts it is
        self.numbers: list[int] = []  # of each given text
        self.known: dict[str, int] = {}
        seen: dict[str, int] = {}
        for position, text in enumerate(texts):
            if text not in seen:
                seen[text] = self._number(text)
            self.numbers.append(seen[text])
            self.owners[seen[text]].append(position)

    def __len__(self) -> int:
        return len(self.texts)

    def _number(self, text: str) -> int:
        found = words(text)
        number = self.known.setdefault(" ".join(found) or text.strip(), len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
            self.words.append(found)
            self.owners.append([])
        return number


class _Side:
    """The queries and passages of one side, and which belong together."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.queries = _Texts([query for query, _ in pairs])
        self.passages = _Texts([passage for _, passage in pairs])
        self.answers: dict[int, set[int]] = defaultdict(set)  # the passages of each query
        numbers = zip(self.queries.numbers, self.passages.numbers, strict=True)
        for (_, passage), (query, number) in zip(pairs, numbers, strict=True):
            if passage:
                self.answers[query].add(number)


class _Judge:
    """Which queries of two sides are the same, with their passages as witnesses."""

    def __init__(self, mine: _Side, theirs: _Side, alike: Mapping[tuple[int, int], float]) -> None:
        self._mine, self._theirs, self._alike = mine, theirs, alike
        self._rewording = Rewording.of(mine.queries.words, theirs.queries.words)

    def repeated(self) -> Iterator[tuple[int, int, float]]:
        """A held-out query, the training query that repeats it, and how alike the two are."""
        mine, theirs = self._mine.queries.words, self._theirs.queries.words
        left, right = weigh_queries(mine, theirs)
        at_least = self._threshold(join(left, left, _THRESHOLDS[0]))
        for one, other, similarity in _rows(join(left, right, QUERIES_ALIKE)):
            difference = self._rewording.difference(mine[one], theirs[other])
            if difference is Difference.NONE or (
                difference is Difference.SLIGHT
                and (similarity >= at_least or self._answers_agree(one, other))
            ):
                yield one, other, similarity

    def _answers_agree(self, one: int, other: int) -> bool:
        return any(
            self._alike.get((mine, theirs), 0.0) >= ANSWERS_ALIKE
            for mine in self._mine.answers[one]
            for theirs in self._theirs.answers[other]
        )

    def _threshold(self, twins: Matches) -> float:
        """How alike two queries must be for that alone to tell.

        Where questions are made from templates, many of the evaluation's own are as alike as
        paraphrases are, and ask for other passages.
        """
        texts, answers = self._mine.queries.words, self._mine.answers
        closest: dict[int, float] = {}
        for one, other, similarity in _rows(twins):
            if one == other or answers[one] & answers[other]:
                continue
            if self._rewording.difference(texts[one], texts[other]) is Difference.SLIGHT:
                closest[one] = max(closest.get(one, 0.0), similarity)
        for at_least in _THRESHOLDS:
            if sum(value >= at_least for value in closest.values()) <= _TWINS * len(texts):
                return at_least
        return 1.0


def _alike_passages(mine: _Texts, theirs: _Texts) -> dict[tuple[int, int], float]:
    """Passages of both sides that have at least ANSWERS_ALIKE in common; 1 where they are equal."""
    left, right = weigh_passages(mine.words, theirs.words)
    found = {(one, other): value for one, other, value in _rows(join(left, right, ANSWERS_ALIKE))}
    for key, number in mine.known.items():
        if key in theirs.known:
            found[number, theirs.known[key]] = 1.0
    return found


def _leaked(
    what: str, texts: _Texts, train: _Texts, found: Iterable[tuple[int, int, float]]
) -> Iterator[Leak]:
    by_text: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for mine, theirs, similarity in found:
        by_text[mine].append((similarity, theirs))
    for mine, matches in by_text.items():
        similarity, closest = max(matches)
        examples = sorted(number for _, theirs in matches for number in train.owners[theirs])
        yield Leak(what, texts.texts[mine], train.texts[closest], similarity, tuple(examples))


def _rows(matches: Matches) -> Iterator[tuple[int, int, float]]:
    return zip(
        matches.left.tolist(), matches.right.tolist(), matches.similarity.tolist(), strict=True
    )


def _example(leak: Leak) -> str:
    held, trained = (shown(" ".join(text.split())) for text in (leak.text, leak.train_text))
    return f"the {leak.what} '{held}' is trained on as '{trained}'"
