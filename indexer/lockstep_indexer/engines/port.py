"""What a build asks of an engine, besides points."""

from collections.abc import Callable
from typing import Protocol

from lockstep.bootstrap import Workspace
from lockstep.index.engine import Engine
from lockstep.index.generation import Generation


class BuildEngine(Engine, Protocol):
    """An engine for a whole corpus."""

    @property
    def told(self) -> str:
        """For people: what encodes, and how near it comes to the library."""

    @property
    def in_fp8(self) -> bool:
        """Whether it encodes in eight bits, which the version has to say before it is written."""

    @property
    def batch_documents(self) -> int:
        """How many documents it wants in a batch; the same whenever a build goes on."""

    def close(self) -> None:
        """Give back what it holds: memory, processes."""


MakeEngine = Callable[[Workspace, Generation], BuildEngine]
