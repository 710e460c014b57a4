"""Whether a compiled form gives the vectors of its torch model, over texts of all lengths."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from lockstep.models.query_tokens import QueryTokens, padded_length
from lockstep.models.vectors import Vector, cosines

MIN_COSINE = 0.9999
# A text of more tokens takes minutes on a CPU; so long a query is left to torch.
MAX_MEASURED_TOKENS = 1024
_BATCH = 8
_ROUNDS = 15

_SCRIPTS = (
    "how is the lift of a thin wing at high speed related to its angle of attack",
    "Welche Länder grenzen an die Ostsee, und wer überquerte sie im Jahr 1809?",
    "Как лечат хронические заболевания лёгких у детей старше шести лет?",
    "世界田徑錦標賽 是什么时候在哪个城市举行的",
    "東京から大阪まで新幹線で何時間かかりますか",
    "서울에서 부산까지 기차로 얼마나 걸립니까",
    "ما هي أعراض مرض السكري عند البالغين",
    "मधुमेह के लक्षण क्या हैं और उनका इलाज कैसे होता है",
    "מהם התסמינים של סוכרת אצל מבוגרים",
    "τι προκαλεί υψηλή αρτηριακή πίεση στους ενήλικες",
    "อาการของโรคเบาหวานมีอะไรบ้าง",
    "¿Qué? 7 × 8 = 56; e-mail@example.org, https://example.org/a?b=c #42 🙂",
    "def reciprocal_rank(run: dict[str, float], *, k: int = 60) -> float:",
)


class Form(Protocol):
    """A way to run a model on tokenized queries."""

    @property
    def tokens(self) -> QueryTokens: ...

    @property
    def batches(self) -> bool:
        """Whether several queries in one call are faster than one call each."""

    def encode(self, queries: Sequence[Encoding]) -> Vector:
        """(n, dim), not normalised."""


@dataclass(frozen=True)
class Sample:
    """Queries, and the vectors that the torch model gives for them."""

    queries: Sequence[Encoding]
    expected: Vector  # (n, dim)

    @classmethod
    def of(cls, form: Form, texts: Sequence[str]) -> "Sample":
        queries = [form.tokens.encode(text) for text in texts]
        return cls(queries, np.concatenate([form.encode([query]) for query in queries]))


@dataclass(frozen=True)
class Agreement:
    """`cosine` is the lowest of all texts, alone and in batches; -1 where one has none. What it
    means of scores, `_likeness` says.
    """

    cosine: float
    stable: bool  # a query has the same bits alone and among others of its padded length

    @property
    def largest_difference(self) -> float:
        """Of scores, as a share of the sample's range."""
        return math.acos(max(-1.0, min(1.0, self.cosine)))

    @property
    def holds(self) -> bool:
        return self.cosine >= MIN_COSINE

    def worst(self, other: "Agreement") -> "Agreement":
        return Agreement(min(self.cosine, other.cosine), self.stable and other.stable)


def all_lengths(max_tokens: int) -> list[str]:
    """One word up to as many as are measured, in several scripts."""
    words = [text.split() for text in _SCRIPTS]
    texts = ["", "a", *(script[0] for script in words), *_SCRIPTS]
    mixed = cycle(word for script in words for word in script)
    longest = min(max_tokens, MAX_MEASURED_TOKENS)
    lengths = [2, 3, 5, 8]
    while lengths[-1] < longest:
        lengths.append(lengths[-1] * 2)
    return texts + [" ".join(islice(mixed, length)) for length in lengths]


def a_few() -> list[str]:
    """Enough to see that another processor computes the same, and to warm up short queries."""
    english = _SCRIPTS[0].split()
    return ["a", " ".join(english[:9]), _SCRIPTS[0], _SCRIPTS[2], " ".join(english * 3)[:180]]


def measure(form: Form, sample: Sample, max_tokens: int) -> Agreement:
    """Compare a form with what torch gave. Raises EncodingFailed."""
    alone = np.concatenate([form.encode([query]) for query in sample.queries])
    likeness = _likeness(sample.expected)
    lowest = likeness(alone, sample.expected)
    stable = True
    for rows in _batches(sample.queries, max_tokens):
        together = form.encode([sample.queries[row] for row in rows])
        lowest[rows] = np.minimum(lowest[rows], likeness(together, sample.expected[rows]))
        stable = stable and together.tobytes() == alone[rows].tobytes()
    return Agreement(float(np.nan_to_num(lowest, nan=-1.0).min()), stable)


def _likeness(expected: Vector) -> Callable[[Vector, Vector], NDArray[np.float64]]:
    """Cosines of vectors, (n,). Of scores, which are vectors of one number, the cosine of their
    difference as a share of the sample's range: at .9999 two differ by 1.4 % of it.
    """
    if expected.shape[1] > 1:
        return cosines
    spread = float(np.ptp(expected)) or 1.0

    def likeness(actual: Vector, exact: Vector) -> NDArray[np.float64]:
        apart: NDArray[np.float64] = (actual - exact)[:, 0].astype(np.float64) / spread
        return np.cos(np.clip(apart, -np.pi, np.pi))

    return likeness


def _batches(queries: Sequence[Encoding], max_tokens: int) -> list[list[int]]:
    """The numbers of queries of one padded length, in twos and more."""
    alike: dict[int, list[int]] = {}
    for row, query in enumerate(queries):
        alike.setdefault(padded_length(len(query.ids), max_tokens), []).append(row)
    pairs = {length: rows if len(rows) > 1 else rows * 2 for length, rows in alike.items()}
    return [rows[at : at + _BATCH] for rows in pairs.values() for at in range(0, len(rows), _BATCH)]


def milliseconds(form: Form) -> float:
    """How long one ordinary query takes, its tokenizing included: the median."""
    took = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        form.encode([form.tokens.encode(_SCRIPTS[0])])
        took.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(took), 3)
