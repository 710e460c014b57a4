"""The token ids of many passages in one flat array."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
AnyIds = NDArray[np.int32] | NDArray[np.uint16]
Offsets = NDArray[np.int64]
Columns = tuple[NDArray[np.int64], NDArray[np.int64]]  # ids and attention mask, (rows, length)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Passages one after the other: passage n is `ids[offsets[n]:offsets[n + 1]]`.

    Special tokens and the prompt included, no padding.
    """

    ids: Ids  # (total,)
    offsets: Offsets  # (passages + 1,), ascending from 0

    def __post_init__(self) -> None:
        if self.ids.dtype != np.int32 or self.offsets.dtype != np.int64:
            raise ValueError(
                f"ids are {self.ids.dtype}, offsets {self.offsets.dtype}; expected int32 and int64"
            )
        if self.ids.ndim != 1 or self.offsets.ndim != 1 or not len(self.offsets):
            raise ValueError("ids and offsets are flat, and there is an offset more than passages")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.ids) or (self.lengths < 0).any():
            raise ValueError(
                f"offsets run from {self.offsets[0]} to {self.offsets[-1]}; "
                f"expected ascending numbers from 0 to {len(self.ids)}"
            )

    @classmethod
    def of(cls, passages: Sequence[Sequence[int]]) -> "Tokens":
        offsets = _offsets(np.fromiter(map(len, passages), np.int64, len(passages)))
        ids = np.fromiter(chain.from_iterable(passages), np.int32, int(offsets[-1]))
        return cls(ids, offsets)

    @classmethod
    def concatenated(cls, parts: Iterable["Tokens"]) -> "Tokens":
        each = list(parts)
        lengths = [np.zeros(0, np.int64), *(part.lengths for part in each)]
        return cls.joined([part.ids for part in each], np.concatenate(lengths))

    @classmethod
    def joined(cls, ids: Sequence[AnyIds], lengths: Offsets) -> "Tokens":
        """Of passages of these lengths, whose ids lie one after the other in several arrays."""
        whole = np.concatenate([np.zeros(0, np.int32), *ids], dtype=np.int32)
        return cls(whole, _offsets(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Offsets:
        """(passages,), in tokens."""
        lengths: Offsets = np.diff(self.offsets)
        return lengths

    @property
    def longest(self) -> int:
        return int(self.lengths.max(initial=0))

    def passage(self, row: int) -> Ids:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def between(self, start: int, end: int) -> "Tokens":
        """Passages start to end, the ids shared with these."""
        offsets = self.offsets[start : end + 1]
        return Tokens(self.ids[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: NDArray[np.intp]) -> "Tokens":
        """These passages in this order."""
        lengths = self.lengths[rows]
        offsets = _offsets(lengths)
        shifts = np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return Tokens(self.ids[shifts + np.arange(len(shifts))], offsets)

    def columns(self, length: int, padding: int) -> Columns:
        """A row of `length` for each passage, none of which is longer: ids, attention mask."""
        mask = np.arange(length) < self.lengths[:, None]  # (passages, length)
        ids = np.full(mask.shape, padding, dtype=np.int64)
        ids[mask] = self.ids
        return ids, mask.astype(np.int64)


def _offsets(lengths: Offsets) -> Offsets:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
