"""The port of a route: one way from token ids to vectors."""

from collections.abc import Callable
from typing import Protocol

from lockstep.models.vectors import Vector
from lockstep_indexer.encode.tokens import Tokens

Check = Callable[[], None]


def go_on() -> None:
    """Nothing is to end the encoding."""


class Route(Protocol):
    """In use by one thread at a time."""

    @property
    def name(self) -> str:
        """For people: "packed, float16, on cuda:0"."""

    @property
    def min_cosine(self) -> float:
        """What its vectors must reach against the library's in single precision."""

    @property
    def device(self) -> str:
        """Where it encodes, which need not be the device that was asked for."""

    @property
    def in_fp8(self) -> bool:
        """Whether its linear layers are in eight bits."""

    def encode(self, tokens: Tokens, *, check: Check = go_on) -> Vector:
        """(n, dim), L2-normalised, in the order of the passages; NaN for what has no vector.

        `check` is called before each batch; what it raises ends the encoding.
        Raises DeviceMemoryFull or EncodingFailed.
        """


class RouteRefused(Exception):
    """This model or machine cannot go this way; the text says why."""
