"""Compares two unordered streams of items in fixed memory, and tells which items differ.

Each side adds up 128-bit hashes of its items in buckets. Equal sums mean equal multisets, but for
a chance of 2^-128; where sums differ, the buckets tell which few items a second look must name.
"""

import hashlib
from dataclasses import dataclass, field

_BUCKETS = 4096
_MODULUS = 1 << 128


@dataclass
class Tally:
    """The sum of a stream's items."""

    sums: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    count: int = 0

    def add(self, key: str, *parts: object) -> None:
        """Count one item; `key` alone chooses its bucket."""
        item = "\x1f".join((key, *map(str, parts)))
        digest = hashlib.blake2b(item.encode(), digest_size=16).digest()
        slot = bucket(key)
        self.sums[slot] = (self.sums[slot] + int.from_bytes(digest)) % _MODULUS
        self.count += 1

    def differing(self, other: "Tally") -> frozenset[int]:
        """The buckets in which the two streams differ."""
        pairs = enumerate(zip(self.sums, other.sums, strict=True))
        return frozenset(index for index, (mine, theirs) in pairs if mine != theirs)


def bucket(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=2).digest()) % _BUCKETS
