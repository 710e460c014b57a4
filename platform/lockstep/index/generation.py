"""A generation: all that it takes to search one index version, or to write to it, as one value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lockstep.corpus.documents import Document
from lockstep.errors import DimensionMismatch
from lockstep.index.passages import Passage, PassageSplitter
from lockstep.index.rebuilding import reindex_command
from lockstep.index.versions import IndexVersion
from lockstep.lexical.bm25 import Bm25Encoder
from lockstep.models.encoder import Encoder
from lockstep.models.encoders import Encoders
from lockstep.models.registry import ModelVersion
from lockstep.models.token_encoder import TokenEncoder
from lockstep.store.port import DOCUMENT_ID, METADATA, PASSAGE, Json, Points, Vector

# A passage of 256 tokens of 384 dimensions takes 400 kB: 100 MB in memory.
LATE_PASSAGES = 256


@dataclass(frozen=True)
class Generation:
    """One index version with the encoders it was built by.

    A query vector and the collection it meets come from one generation, so they always agree.
    """

    version: IndexVersion
    encoder: Encoder
    lexical: Bm25Encoder
    splitter: PassageSplitter
    tokens: TokenEncoder | None = None  # where the index holds vectors of tokens

    @classmethod
    def load(cls, version: IndexVersion, encoders: Encoders) -> "Generation":
        """Load and verify the model versions that built this index version.

        Raises ArtefactDamaged, ModelNotFound or DimensionMismatch.
        """
        encoder = encoders.get(version.model_ref)
        _require_same(version, version.model_digest, encoder.version)
        late, tokens = version.spec.late_interaction, None
        if late is not None:
            tokens = encoders.tokens(late.model)
            _require_same(version, late.digest, tokens.version)
        return cls(
            version=version,
            encoder=encoder,
            lexical=Bm25Encoder(version.spec.bm25),
            splitter=splitter_for(encoder, version.spec.window_tokens),
            tokens=tokens,
        )

    @property
    def collection(self) -> str:
        return self.version.collection

    @cached_property
    def name(self) -> str:
        """Both halves, as messages name them."""
        return f"{self.version.corpus} {self.version.label} ({self.version.model_ref})"

    def passages(self, documents: Sequence[Document]) -> list[Passage]:
        return [passage for passages in self.splitter.split(documents) for passage in passages]

    def portions(self, passages: Sequence[Passage]) -> Iterator[Sequence[Passage]]:
        """The passages to encode at once: all, but few with the vectors of all their tokens."""
        size = max(1, len(passages) if self.tokens is None else LATE_PASSAGES)
        for start in range(0, len(passages), size):
            yield passages[start : start + size]

    def points(self, passages: Sequence[Passage], *, batch_size: int) -> Points:
        """Encode passages into points; `batch_size` is what the model sees at once."""
        texts = [passage.encoded_text for passage in passages]
        dense = self.encoder.encode_passages(texts, batch_size=batch_size)  # (n, dim)
        late = self.tokens.encode_passages(texts, batch_size=batch_size) if self.tokens else None
        return self.points_of(passages, dense, late)

    def points_of(
        self, passages: Sequence[Passage], dense: Vector, late: Sequence[Vector] | None = None
    ) -> Points:
        """Points of passages whose vectors are there: `dense` (n, dim), of their tokens `late`."""
        return Points(
            ids=[passage.point_id for passage in passages],
            dense=dense,
            prefilter=self.prefilter_vectors(dense),
            bm25=self.lexical.encode_passages([passage.encoded_text for passage in passages]),
            payloads=[payload(passage) for passage in passages],
            late=late,
        )

    def prefilter_vectors(self, dense: Vector) -> Vector | None:
        """The first dimensions of each vector, normalised again; None without a prefilter."""
        dim = self.version.spec.prefilter_dim
        return None if dim is None else np.ascontiguousarray(self.encoder.truncate(dense, dim))


def splitter_for(encoder: Encoder, window_tokens: int) -> PassageSplitter:
    """Windows that leave room for the prompt the encoder puts before each passage."""
    prompt = encoder.version.manifest.document_prompt
    return PassageSplitter(encoder.tokenizer, window_tokens, prompt=prompt)


def _require_same(version: IndexVersion, digest: str, model: ModelVersion) -> None:
    if model.digest != digest:
        raise DimensionMismatch(
            f"Index {version.collection} was built by a model of digest {digest[:12]}; {model.ref} "
            f"is now {model.digest[:12]}.",
            next_step=reindex_command(version, model.manifest),
        )


def payload(passage: Passage) -> Json:
    """What a point carries besides its vectors: enough to answer with, and to be checked by."""
    document = passage.document
    return {
        DOCUMENT_ID: document.id,
        "content_hash": document.content_hash,
        PASSAGE: passage.number,
        "passages": passage.count,
        "title": document.title,
        "text": passage.text,
        METADATA: document.metadata,
    }
