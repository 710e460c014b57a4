"""Whether two queries that share most of their words ask the same.

"What are the symptoms of Noonan syndrome?" shares nearly everything with the question about its
treatments and with that about Turner syndrome, and asks neither. So what counts is which words the
two do *not* share: a number, an initial or another frequent word of the collection tells questions
apart; a word that is hardly ever used elsewhere, or stands for such a word, does not.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lockstep_indexer.train.data.likeness import Words

# A word is frequent where it stands in one query of a hundred of the evaluation, or one of twenty
# in training: there many rewordings may share a word such as "exactly", which tells nothing apart.
FREQUENT_SHARE = 0.01
FREQUENT_SHARE_IN_TRAINING = 0.05
_LEAST_FREQUENT = 5
_STEM = 4  # letters at least that two forms of one word begin with
_ENDING = 3  # letters at most that they end differently with

_ASKING = frozenset(("who", "whom", "whose", "when", "where", "why", "how"))
_NEGATIONS = frozenset(("no", "not", "non", "without", "never", "neither"))
_OTHER_FUNCTION_WORDS = """
    a an the of in on at to for from by with about as and or but if than then so into is are was
    were be been being am do does did done has have had having can could will would shall should may
    might must what which that this these those it its he she they we you i me my your his her their
    our us them there s t re ve ll d m please tell
"""
_FUNCTION_WORDS = _ASKING | frozenset(_OTHER_FUNCTION_WORDS.split())
# Numbers, Roman ones, and single letters: type 2, stage IV, protein C.
_MARK = re.compile(r".*\d.*|[ivx]+|[b-z]", re.DOTALL)


class Difference(StrEnum):
    """How two queries differ."""

    NONE = "none"  # in order, case, punctuation, endings and function words at most
    SLIGHT = "slight"  # in words that are rare in the collection
    TELLING = "telling"  # in what tells its queries apart


@dataclass(frozen=True)
class Rewording:
    """Judges pairs of queries by what is frequent in a collection."""

    frequent: frozenset[str]

    @classmethod
    def of(cls, queries: Sequence[Words], training: Sequence[Words]) -> "Rewording":
        return cls(
            _frequent(queries, FREQUENT_SHARE) | _frequent(training, FREQUENT_SHARE_IN_TRAINING)
        )

    def difference(self, one: Words, other: Words) -> Difference:
        first, second = _unshared(one, other)
        if any(map(_tells, (*first, *second))) or _ask_otherwise(one, other):
            return Difference.TELLING
        mine = [word for word in first if word not in _FUNCTION_WORDS]
        theirs = [word for word in second if word not in _FUNCTION_WORDS]
        if not mine and not theirs:
            return Difference.NONE
        return Difference.TELLING if self._are_apart(mine, theirs) else Difference.SLIGHT

    def _are_apart(self, mine: list[str], theirs: list[str]) -> bool:
        """One frequent word for another, or too few or too many; or a name for another name."""
        frequent = [bool(self.frequent & set(side)) for side in (mine, theirs)]
        if all(frequent) or (any(frequent) and not (mine and theirs)):
            return True
        return not any(frequent) and bool(mine and theirs)


def _frequent(queries: Sequence[Words], share: float) -> frozenset[str]:
    counts = Counter(word for query in queries for word in set(query))
    least = max(_LEAST_FREQUENT, share * len(queries))
    return frozenset(word for word, count in counts.items() if count >= least)


def _unshared(one: Words, other: Words) -> tuple[list[str], list[str]]:
    """What each has and the other lacks, two forms of one word being the same."""
    first, second = Counter(one), Counter(other)
    shared = first & second
    mine, theirs = list((first - shared).elements()), list((second - shared).elements())
    for word in list(mine):
        twin = next((form for form in theirs if _same_word(word, form)), None)
        if twin is not None:
            mine.remove(word)
            theirs.remove(twin)
    return mine, theirs


def _same_word(one: str, other: str) -> bool:
    common = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    common = min(len(one), len(other)) if common is None else common
    return common >= _STEM and max(len(one), len(other)) - common <= _ENDING


def _tells(word: str) -> bool:
    return word in _NEGATIONS or (word not in _FUNCTION_WORDS and _MARK.fullmatch(word) is not None)


def _ask_otherwise(one: Words, other: Words) -> bool:
    mine, theirs = _ASKING & set(one), _ASKING & set(other)
    return bool(mine and theirs and not mine & theirs)
