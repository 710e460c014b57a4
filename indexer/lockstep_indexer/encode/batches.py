"""Batches of passages ordered by length, under a budget of tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep_indexer.encode.tokens import Offsets, Tokens

Order = NDArray[np.intp]


def longest_first(tokens: Tokens) -> Order:
    """What needs most memory comes first; passages of one length keep their order."""
    return np.argsort(-tokens.lengths, kind="stable")


def restored(order: Order) -> Order:
    """The rows that put what is in `order` back into the order of before."""
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return back


@dataclass
class Budget:
    """How many tokens a batch may have."""

    tokens: int

    def halve(self, below: int) -> None:
        """After a batch of `below` tokens was too large."""
        self.tokens = max(1, min(self.tokens, below) // 2)


def packed_end(offsets: Offsets, start: int, budget: int) -> int:
    """The end of the batch that begins at `start`: as many tokens as fit, one passage at least."""
    end = int(np.searchsorted(offsets, offsets[start] + budget, side="right")) - 1
    return max(end, start + 1)


def padded_end(lengths: Offsets, start: int, budget: int) -> int:
    """The same for rows as long as the first, which is the longest."""
    return min(start + max(1, budget // max(1, int(lengths[start]))), len(lengths))
