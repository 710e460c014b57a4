"""The port of a route: one way from token ids to vectors."""

from typing import Protocol

from lockstep.models.vectors import Vector
from lockstep_indexer.encode.tokens import Tokens


class Route(Protocol):
    """In use by one thread at a time."""

    @property
    def name(self) -> str:
        """For people: "packed, float16, on cuda:0"."""

    @property
    def min_cosine(self) -> float:
        """What its vectors must reach against the library's in single precision."""

    def encode(self, tokens: Tokens) -> Vector:
        """(n, dim), L2-normalised, in the order of the passages; NaN for what has no vector.

        Raises DeviceMemoryFull or EncodingFailed.
        """


class RouteRefused(Exception):
    """This model or machine cannot go this way; the text says why."""
