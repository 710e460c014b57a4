"""Manifests: what a model version consists of and how it encodes."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

Json = dict[str, Any]

# Part of every digest: raise it when the same files would give other vectors than before.
_DIGEST_FORMAT = 1


class ModelKind(StrEnum):
    """What a model version makes of texts."""

    ENCODER = "encoder"  # a vector of each
    RERANKER = "reranker"  # one score of a query and a passage, read together
    LATE_INTERACTION = "late-interaction"  # a vector of each token


@dataclass(frozen=True)
class FileEntry:
    """One file of an artefact."""

    sha256: str
    size: int  # bytes

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is '{self.sha256}'; expected 64 hexadecimal digits")
        if self.size < 0:
            raise ValueError(f"size is {self.size}; expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class ModelManifest:
    """A model version's files and the facts that were measured when it was added.

    `matryoshka_dims` are the lengths at which a prefix of a vector stands alone; empty unless the
    model was trained for that. `lineage` says where the model comes from, in the trainer's words.
    """

    files: Mapping[str, FileEntry]  # by path relative to the artefact, with slashes
    dim: int  # of a vector, or of each token's; 1 for a reranker's score
    max_tokens: int
    pooling: str
    normalised: bool  # whether the model's own modules end in an L2 normalisation
    similarity: str  # of a reranker, what its scores are put through
    query_prompt: str = ""
    document_prompt: str = ""
    matryoshka_dims: tuple[int, ...] = ()
    tokenizer_digest: str = ""  # equal where texts give equal token ids
    lineage: Json = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)  # versions at the time of adding
    kind: ModelKind = ModelKind.ENCODER
    # A CompilationReport: of what was compiled when the version was added, and how fast it is.
    query_encoder: Json = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for path in self.files:
            _check_path(path)
        for name in ("dim", "max_tokens"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}; expected 1 or more")
        dims = self.matryoshka_dims
        if list(dims) != sorted(set(dims)) or any(not 0 < dim <= self.dim for dim in dims):
            raise ValueError(
                f"matryoshka_dims are {dims}; expected ascending numbers from 1 to {self.dim}"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides which vectors or scores the model version gives."""
        defining: Json = {
            "format": _DIGEST_FORMAT,
            "files": {path: entry.sha256 for path, entry in self.files.items()},
            "dim": self.dim,
            "max_tokens": self.max_tokens,
            "query_prompt": self.query_prompt,
            "document_prompt": self.document_prompt,
            "matryoshka_dims": self.matryoshka_dims,
        }
        if self.kind is not ModelKind.ENCODER:
            defining["kind"] = self.kind
        return hashlib.sha256(canonical_json(defining).encode()).hexdigest()

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(entry.size for entry in self.files.values())

    def to_json(self) -> Json:
        """Without the kind of an encoder: the manifests of before stay as they were."""
        fields = asdict(self) | {"matryoshka_dims": list(self.matryoshka_dims)}
        if self.kind is ModelKind.ENCODER:
            del fields["kind"]
        return fields

    @classmethod
    def from_json(cls, fields: Json) -> "ModelManifest":
        """Raises ValueError, KeyError or TypeError where the fields are not a manifest's."""
        files = {path: FileEntry(**entry) for path, entry in fields["files"].items()}
        dims = tuple(fields["matryoshka_dims"])
        kind = ModelKind(fields.get("kind", ModelKind.ENCODER))
        return cls(**{**fields, "files": files, "matryoshka_dims": dims, "kind": kind})


def canonical_json(value: Any) -> str:
    """JSON that is the same text for equal values."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _check_path(path: str) -> None:
    """A manifest names files; a path that leaves its folder would name somebody else's."""
    parts = path.split("/")
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"'{path}' is not a path inside an artefact")
