"""Documents and the changes made to them: the values that a corpus stores."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lockstep.errors import InvalidDocument

MAX_ID_BYTES = 512
MAX_TITLE_BYTES = 4096
MAX_METADATA_DEPTH = 32

_CANONICAL = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
)


@dataclass(frozen=True)
class Document:
    """What a user stores: an id of their choosing, text, and optionally a title and metadata.

    Raises InvalidDocument where the id, title, text or metadata cannot be stored.
    """

    id: str
    text: str
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_id(self.id)
        _check_text(self.id, "text", self.text)
        _check_text(self.id, "title", self.title)
        if not self.text.strip():
            raise InvalidDocument(f"Document '{shown(self.id)}' has an empty text.")
        if (size := len(self.title.encode())) > MAX_TITLE_BYTES:
            raise InvalidDocument(
                f"Document '{shown(self.id)}' has a title of {size} bytes; "
                f"at most {MAX_TITLE_BYTES} are allowed."
            )
        _check_metadata(self.id, self.metadata)
        _ = self.content_hash  # fails here, not in the middle of a batch

    @property
    def canonical_json(self) -> str:
        """The document as JSON with sorted keys: the text that is hashed."""
        return _CANONICAL.encode(
            {"title": self.title, "text": self.text, "metadata": self.metadata}
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of title, text and metadata, in hexadecimal."""
        try:
            return hashlib.sha256(self.canonical_json.encode()).hexdigest()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidDocument(
                f"Document '{shown(self.id)}' has metadata that is not JSON: {error}."
            ) from error


@dataclass(frozen=True)
class Change:
    """One entry of the change log: a document as it is now, or the tombstone of a deleted one."""

    seq: int
    document_id: str
    document: Document | None  # None: deleted


def shown(text: str, limit: int = 80) -> str:
    """A text short enough to stand in a message."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def check_id(document_id: object) -> None:
    """Raise InvalidDocument where no document can have this id."""
    if not isinstance(document_id, str):
        raise InvalidDocument(
            f"A document id is {document_id!r}, of type {type(document_id).__name__}; "
            "expected text."
        )
    if not document_id:
        raise InvalidDocument("A document has an empty id.")
    _check_text(document_id, "id", document_id)
    if (size := len(document_id.encode())) > MAX_ID_BYTES:
        raise InvalidDocument(
            f"Document id '{shown(document_id)}' has {size} bytes; "
            f"at most {MAX_ID_BYTES} are allowed."
        )


def _check_text(document_id: str, name: str, value: object) -> None:
    a_name = f"an {name}" if name == "id" else f"a {name}"
    if not isinstance(value, str):
        raise InvalidDocument(
            f"Document {shown(document_id)!a} has {a_name} of type {type(value).__name__}; "
            "expected text."
        )
    if "\x00" in value or not _is_unicode(value):
        raise InvalidDocument(
            f"Document {shown(document_id)!a} has {a_name} with a NUL or a lone surrogate; "
            "expected Unicode text."
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _check_metadata(document_id: str, metadata: object) -> None:
    if not isinstance(metadata, dict):
        raise InvalidDocument(
            f"Document '{shown(document_id)}' has metadata of type "
            f"{type(metadata).__name__}; expected a JSON object."
        )
    level: list[Any] = [metadata]
    for _ in range(MAX_METADATA_DEPTH):
        level = [value for container in level for value in _containers_in(document_id, container)]
        if not level:
            return
    raise InvalidDocument(
        f"Document '{shown(document_id)}' has metadata nested deeper than {MAX_METADATA_DEPTH}."
    )


def _containers_in(document_id: str, container: Any) -> list[Any]:
    """The objects and arrays directly inside one; checks its keys and numbers on the way."""
    is_object = isinstance(container, dict)
    if is_object and not all(isinstance(key, str) for key in container):
        raise InvalidDocument(
            f"Document '{shown(document_id)}' has a metadata key that is not text."
        )
    inner = []
    for value in container.values() if is_object else container:
        if isinstance(value, (dict, list, tuple)):
            inner.append(value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InvalidDocument(
                f"Document '{shown(document_id)}' has an integer in its metadata that needs "
                "more than 64 bits; the vector store cannot hold it."
            )
    return inner
