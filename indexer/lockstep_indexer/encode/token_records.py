"""What is kept of a tokenized document, as bytes that tell whether they are still the same.

A record is, in little-endian order: the checksum of all that follows and of the document's hash;
the kept characters of the title, the number of passages and the bytes of an id (2 where all fit,
else 4); start, end and number of tokens of each passage; the ids of all passages.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lockstep.index.passages import Windows
from lockstep_indexer.encode.tokens import AnyIds, Tokens

# To be raised with every change of the bytes: they are kept under it.
RECORD_VERSION = 1

_CHECKSUM = struct.Struct("<I")
_HEADER = struct.Struct("<IIII")
_NARROW: np.dtype[Any] = np.dtype("<u2")
_WIDE: np.dtype[Any] = np.dtype("<i4")


@dataclass(frozen=True, eq=False)
class TokenRecord:
    """A document's windows and the token ids of its passages."""

    windows: Windows
    lengths: tuple[int, ...]  # of each passage, in tokens
    ids: AnyIds  # of all passages, one after the other

    @classmethod
    def of(cls, windows: Windows, tokens: Tokens) -> Self:
        return cls(windows, tuple(tokens.lengths.tolist()), tokens.ids)

    def to_bytes(self, content_hash: str) -> bytes:
        dtype = _NARROW if self.ids.max(initial=0) <= np.iinfo(_NARROW).max else _WIDE
        spans = self.windows.spans
        rows = [
            number
            for (start, end), length in zip(spans, self.lengths, strict=True)
            for number in (start, end, length)
        ]
        header = _HEADER.pack(0, self.windows.title, len(spans), dtype.itemsize)[_CHECKSUM.size :]
        body = header + struct.pack(f"<{len(rows)}I", *rows)
        body += self.ids.astype(dtype).tobytes()
        return _CHECKSUM.pack(_checksum(content_hash, body)) + body

    @classmethod
    def from_bytes(cls, content_hash: str, stored: object) -> Self | None:
        """The ids are a view of the bytes. None where these are not what was stored."""
        if not isinstance(stored, bytes) or len(stored) < _HEADER.size:
            return None
        checksum, title, passages, width = _HEADER.unpack_from(stored)
        if checksum != _checksum(content_hash, memoryview(stored)[_CHECKSUM.size :]):
            return None
        rows = struct.unpack_from(f"<{3 * passages}I", stored, _HEADER.size)
        dtype = _NARROW if width == _NARROW.itemsize else _WIDE
        ids = np.frombuffer(stored, dtype, offset=_HEADER.size + 12 * passages)
        spans = tuple(zip(rows[::3], rows[1::3], strict=True))
        return cls(Windows(title, spans), rows[2::3], ids)


def _checksum(content_hash: str, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(content_hash.encode()))
