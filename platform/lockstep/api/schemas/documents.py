"""Documents, and what became of a write."""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import (
    BaseModel,
    Field,
    StrictStr,
)

from lockstep.api.schemas.body import NO_NUL, Body, DocumentId, Metadata, checked
from lockstep.corpus.batches import WriteResult
from lockstep.corpus.documents import MAX_TITLE_BYTES, Document

MAX_DOCUMENTS = 1000  # of one call
_SOME_WORDS = r"^[^\u0000]*[^\u0000\s][^\u0000]*$"


class DocumentBody(Body):
    other_fields_hint: ClassVar[str] = "Put fields of your own into metadata."

    id: DocumentId
    text: Annotated[
        StrictStr, checked(minLength=1, pattern=_SOME_WORDS)
    ]  # as long as max_document_bytes in the settings allows
    title: (
        Annotated[StrictStr, Field(max_length=MAX_TITLE_BYTES), checked(pattern=NO_NUL)] | None
    ) = None
    metadata: Metadata | None = None

    def document(self) -> Document:
        """Raises InvalidDocument."""
        return Document(self.id, self.text, self.title or "", self.metadata or {})


class UpsertBody(Body):
    documents: Annotated[list[DocumentBody], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class DeleteBody(Body):
    ids: Annotated[list[DocumentId], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class Indexed(StrEnum):
    """Whether a write can be found by a search yet; it is durable in any case."""

    NOT_AWAITED = "not_awaited"  # the call did not ask; moments from now, as a rule
    YES = "yes"
    NOT_YET = "not_yet"  # timeout_s ran out
    NO_LIVE_INDEX = "no_live_index"  # the first index that is built will hold it


class WriteView(BaseModel):
    added: int
    changed: int
    unchanged: int
    deleted: int
    missing: int = Field(description="Ids to delete that were not there.")
    head_seq: int = Field(description="The corpus's last change.")
    indexed: Indexed

    @classmethod
    def of(cls, result: WriteResult, indexed: Indexed) -> Self:
        return cls(**vars(result), indexed=indexed)


class DocumentView(BaseModel):
    id: str
    title: str
    text: str
    metadata: Metadata
    content_hash: str

    @classmethod
    def of(cls, document: Document) -> Self:
        return cls(
            id=document.id,
            title=document.title,
            text=document.text,
            metadata=document.metadata,
            content_hash=document.content_hash,
        )
