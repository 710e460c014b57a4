"""Which texts of two sets are nearly the same: an exact join by the cosine of what is rare in them.

Words are weighed by their rarity (inverse document frequency), so what a thousand questions have in
common says little.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

SHINGLE_WORDS = 3
_ROWS_AT_ONCE = 256
_ROUNDING = 1e-9
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 by the golden ratio: spreads what it multiplies
# Scripts without spaces between words: each character is a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]|[^\W_]+")
_LOOSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")

Words = Sequence[str]
Matrix = Any  # scipy.sparse.csr_array, (texts, features); rows L2-normalised


@dataclass(frozen=True)
class Matches:
    """Pairs of texts by their numbers, and the cosine of each pair."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    similarity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.left)


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation."""
    folded = text.casefold()
    if _LOOSE.search(folded) is None:
        return re.findall(r"[^\W_]+", folded)  # the same, and a third faster
    return _WORD.findall(folded)


def weigh_queries(left: Sequence[Words], right: Sequence[Words]) -> tuple[Matrix, Matrix]:
    """Short texts by their words and, for other endings and spellings, the trigrams of each."""
    numbers: dict[str, int] = {}
    known: dict[str, list[int]] = {}

    def features(text: Words) -> list[int]:
        found: list[int] = []
        for word in text:
            if word not in known:
                names = [word, *trigrams(word)]
                known[word] = [numbers.setdefault(name, len(numbers)) for name in names]
            found.extend(known[word])
        return found

    rows = [np.array(features(text), np.uint64) for text in (*left, *right)]
    return _weighed(rows, len(left))


def weigh_passages(left: Sequence[Words], right: Sequence[Words]) -> tuple[Matrix, Matrix]:
    """Long texts by their runs of three words."""
    numbers: dict[str, int] = {}
    rows = [
        _shingles(np.array([numbers.setdefault(w, len(numbers)) for w in text], np.uint64))
        for text in (*left, *right)
    ]
    return _weighed(rows, len(left))


def join(left: Matrix, right: Matrix, at_least: float) -> Matches:
    """Every pair whose cosine reaches `at_least`, in memory that some rows of `left` need."""
    turned = right.T.tocsr()
    found = []
    for start in range(0, left.shape[0], _ROWS_AT_ONCE):
        some = (left[start : start + _ROWS_AT_ONCE] @ turned).tocoo()
        enough = some.data >= at_least - _ROUNDING
        rows, columns = some.row[enough].astype(np.int64), some.col[enough].astype(np.int64)
        found.append((rows + start, columns, np.minimum(some.data[enough], 1.0)))
    if not found:
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return Matches(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def trigrams(word: str) -> list[str]:
    """Three characters at a time, the ends of the word among them, marked as no word is."""
    padded = f"^{word}$"
    return [f"~{padded[n : n + 3]}" for n in range(len(padded) - 2)]


def _shingles(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number for each run of three words; a shorter text is one run."""
    if len(ids) == 0:
        return ids
    runs = max(1, len(ids) - SHINGLE_WORDS + 1)
    padded = np.concatenate([ids, np.full(SHINGLE_WORDS - 1, np.iinfo(np.uint64).max)])
    mixed = np.zeros(runs, np.uint64)
    for offset in range(SHINGLE_WORDS):
        mixed = (mixed ^ padded[offset : offset + runs]) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _weighed(rows: list[NDArray[np.uint64]], left: int) -> tuple[Matrix, Matrix]:
    """Counts times smoothed inverse document frequency, each row of length 1."""
    lengths = [len(row) for row in rows]
    names, columns = np.unique(np.concatenate([*rows, np.empty(0, np.uint64)]), return_inverse=True)
    owners = np.repeat(np.arange(len(rows)), lengths)
    ones = np.ones(len(columns))
    matrix = sparse.csr_array((ones, (owners, columns)), shape=(len(rows), max(1, len(names))))
    matrix.sum_duplicates()
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    weight = np.log((1 + len(rows)) / (1 + frequency)) + 1
    matrix.data *= weight[matrix.indices]
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix.data /= np.repeat(norms, np.diff(matrix.indptr))
    return matrix[:left], matrix[left:]
