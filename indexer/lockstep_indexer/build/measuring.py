"""What a corpus costs a model version: measured on a sample of it, on this machine."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

from lockstep.corpus.change_log import Corpora
from lockstep.index.generation import payload, splitter_for
from lockstep.index.passages import Passage
from lockstep.index.spec import IndexSpec
from lockstep.lexical.bm25 import Bm25Encoder
from lockstep.models.encoder import Encoder
from lockstep.models.token_encoder import TokenEncoder
from lockstep.store.port import SEQ
from lockstep_indexer.encode.routes import go_on
from lockstep_indexer.engines.encoding import Encoding

# Documents read to count passages and tokens; all of them in a smaller corpus.
SAMPLE_DOCUMENTS = 5_000
# Passages that may be encoded to measure the speed, and for how long.
TIMED_PASSAGES = 512
TIMED_S = 5.0
_DOCUMENTS_AT_ONCE = 256
# Fewer timings than this say little about how much they vary.
_MIN_TIMINGS = 3
_FEW_TIMINGS_SPREAD = 1.5
_SPREAD = 1.1


@dataclass(frozen=True)
class Sample:
    """What some documents of a corpus come to under a model version and a spec."""

    documents: int
    passages: int
    tokens: int  # prompts and special tokens included
    terms: int  # of BM25, each once per passage
    payload_bytes: int  # as JSON
    timed: tuple[Passage, ...]  # up to TIMED_PASSAGES of them, from the shortest to the longest

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(passage.encoded_text for passage in self.timed)


@dataclass(frozen=True)
class Speed:
    """How fast passages were encoded, in tokens per second."""

    device: str
    encoded_by: str
    passages: int
    mean: float
    slowest: float
    fastest: float


@dataclass(frozen=True)
class Seconds:
    """An estimate of a time, and the bounds that it should lie within."""

    likely: float
    least: float
    most: float

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.likely + other.likely, self.least + other.least, self.most + other.most)

    def times(self, count: int) -> "Seconds":
        return Seconds(self.likely * count, self.least * count, self.most * count)

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in vars(self).items()}


NO_TIME = Seconds(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Late:
    """What a passage costs in vectors of tokens."""

    vectors: float
    seconds: Seconds  # to encode it


def measure_sample(
    corpora: Corpora,
    corpus: str,
    encoder: Encoder,
    spec: IndexSpec,
    *,
    documents: int = SAMPLE_DOCUMENTS,
) -> Sample:
    """Split, tokenise and analyse documents that are spread over the corpus's log."""
    lexical = Bm25Encoder(spec.bm25)
    prompt = encoder.version.manifest.document_prompt
    read = terms = stored = 0
    lengths: list[tuple[int, Passage]] = []
    for batch, passages in _split(corpora, corpus, encoder, spec, documents):
        read += batch
        texts = [passage.encoded_text for passage in passages]
        encodings = encoder.tokenizer.encode_batch([prompt + text for text in texts])
        lengths += [(len(e.ids), each) for e, each in zip(encodings, passages, strict=True)]
        terms += sum(len(vector.indices) for vector in lexical.encode_passages(texts))
        stored += sum(len(json.dumps(payload(p) | {SEQ: 0}).encode()) for p in passages)
    return Sample(
        documents=read,
        passages=len(lengths),
        tokens=sum(length for length, _ in lengths),
        terms=terms,
        payload_bytes=stored,
        timed=_spread([each for _, each in sorted(lengths, key=itemgetter(0))], TIMED_PASSAGES),
    )


def measure_tokens(encoder: TokenEncoder, sample: Sample, *, batch: int, at_most_s: float) -> Late:
    """Encode a few passages of all lengths; at least a batch, more while there is time."""
    groups = max(1, len(sample.texts) // batch)
    encoder.encode_passages(sample.texts[:1], batch_size=batch)  # the first call warms up
    passages = vectors = 0
    started = time.perf_counter()
    for group in range(groups):
        texts = sample.texts[group::groups]
        vectors += sum(map(len, encoder.encode_passages(texts, batch_size=batch)))
        passages += len(texts)
        if time.perf_counter() - started > at_most_s:
            break
    seconds = (time.perf_counter() - started) / passages
    return Late(
        vectors / passages,
        Seconds(seconds, seconds / _FEW_TIMINGS_SPREAD, seconds * _FEW_TIMINGS_SPREAD),
    )


def measure_speed(
    encoder: Encoder, encoding: Encoding, sample: Sample, *, group: int, at_most_s: float
) -> Speed:
    """Tokenize and encode passages of the sample as a build does, for at most about `at_most_s`.

    In groups of all lengths: of at least two batches, so that they are padded as in a build.
    """
    groups = max(1, len(sample.timed) // group)
    _encode(encoding, sample.timed[::groups])  # the first call for each length takes longer
    rates: list[float] = []
    tokens = passages = 0
    spent = 0.0
    for number in range(groups):
        some = sample.timed[number::groups]
        started = time.perf_counter()
        _encode(encoding, some)
        took = time.perf_counter() - started
        count = _tokens(encoder, [passage.encoded_text for passage in some])
        rates.append(count / took)
        tokens, passages, spent = tokens + count, passages + len(some), spent + took
        if spent > at_most_s:
            break
    spread = _SPREAD if len(rates) >= _MIN_TIMINGS else _FEW_TIMINGS_SPREAD
    return Speed(
        device=encoder.device,
        encoded_by=encoding.told,
        passages=passages,
        mean=tokens / spent,
        slowest=min(rates) / spread,
        fastest=max(rates) * spread,
    )


def _split(
    corpora: Corpora, corpus: str, encoder: Encoder, spec: IndexSpec, count: int
) -> Iterator[tuple[int, list[Passage]]]:
    """Batches of documents: how many, and their passages."""
    splitter = splitter_for(encoder, spec.window_tokens)
    documents = corpora.spread(corpus, count)
    while batch := list(islice(documents, _DOCUMENTS_AT_ONCE)):
        yield len(batch), [passage for passages in splitter.split(batch) for passage in passages]


def _encode(encoding: Encoding, passages: Sequence[Passage]) -> None:
    encoding.vectors(passages, encoding.tokens(passages), go_on)


def _spread(passages: Sequence[Passage], count: int) -> tuple[Passage, ...]:
    """At most `count` of them, evenly taken."""
    step = max(1.0, len(passages) / count)
    return tuple(passages[int(place * step)] for place in range(min(count, len(passages))))


def _tokens(encoder: Encoder, texts: Sequence[str]) -> int:
    prompt = encoder.version.manifest.document_prompt
    encodings = encoder.tokenizer.encode_batch([prompt + text for text in texts])
    return sum(len(encoding.ids) for encoding in encodings)
