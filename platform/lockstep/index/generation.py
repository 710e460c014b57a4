"""A generation: all that it takes to search one index version, or to write to it, as one value."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lockstep.corpus.documents import Document
from lockstep.errors import DimensionMismatch
from lockstep.index.passages import Passage, PassageSplitter
from lockstep.index.versions import IndexVersion
from lockstep.lexical.bm25 import Bm25Encoder
from lockstep.models.encoder import Encoder
from lockstep.models.encoders import Encoders
from lockstep.store.port import DOCUMENT_ID, METADATA, PASSAGE, Json, Points, Vector


@dataclass(frozen=True)
class Generation:
    """One index version with the encoders it was built by.

    A query vector and the collection it meets come from one generation, so they always agree.
    """

    version: IndexVersion
    encoder: Encoder
    lexical: Bm25Encoder
    splitter: PassageSplitter

    @classmethod
    def load(cls, version: IndexVersion, encoders: Encoders) -> "Generation":
        """Load and verify the model version that built this index version.

        Raises ArtefactDamaged, ModelNotFound or DimensionMismatch.
        """
        encoder = encoders.get(version.model_ref)
        if encoder.version.digest != version.model_digest:
            raise DimensionMismatch(
                f"Index {version.collection} was built by a model of digest "
                f"{version.model_digest[:12]}; {version.model_ref} is now "
                f"{encoder.version.digest[:12]}.",
                next_step=f"lockstep reindex {version.corpus} --model {version.model_ref}",
            )
        return cls(
            version=version,
            encoder=encoder,
            lexical=Bm25Encoder(version.spec.bm25),
            splitter=splitter_for(encoder, version.spec.window_tokens),
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

    def points(self, passages: Sequence[Passage], *, batch_size: int) -> Points:
        """Encode passages into points; `batch_size` is what the model sees at once."""
        texts = [passage.encoded_text for passage in passages]
        dense = self.encoder.encode_passages(texts, batch_size=batch_size)  # (n, dim)
        return Points(
            ids=[passage.point_id for passage in passages],
            dense=dense,
            prefilter=self.prefilter_vectors(dense),
            bm25=self.lexical.encode_passages(texts),
            payloads=[payload(passage) for passage in passages],
        )

    def prefilter_vectors(self, dense: Vector) -> Vector | None:
        """The first dimensions of each vector, normalised again; None without a prefilter."""
        dim = self.version.spec.prefilter_dim
        return None if dim is None else np.ascontiguousarray(self.encoder.truncate(dense, dim))


def splitter_for(encoder: Encoder, window_tokens: int) -> PassageSplitter:
    """Windows that leave room for the prompt the encoder puts before each passage."""
    prompt = encoder.version.manifest.document_prompt
    return PassageSplitter(encoder.tokenizer, window_tokens, prompt=prompt)


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
