"""What a process says about its operations: their begin before it, their end after it.

The words go through a pipe to the harness: what has been sent survives the sender's kill -9.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lockstep.errors import Conflict, GateFailed, LeaseLost, LockstepError, NotFound, Unavailable


class Outcome(StrEnum):
    BEGUN = "begun"
    DONE = "done"  # acknowledged
    REFUSED = "refused"  # nothing has changed, and that was said
    UNKNOWN = "unknown"  # a part did not answer: it happened or it did not
    BROKEN = "broken"  # an error that no kill may cause


@dataclass(frozen=True)
class Event:
    operation: int  # index in the life's operations; -1: the process as a whole
    outcome: Outcome
    facts: dict[str, Any] = field(default_factory=dict)


def failed(operation: int, error: LockstepError) -> Event:
    """What an operation's error says about what happened."""
    if isinstance(error, (LeaseLost, Unavailable)):
        outcome = Outcome.UNKNOWN
    elif isinstance(error, GateFailed) or not isinstance(error, (Conflict, NotFound)):
        outcome = Outcome.BROKEN
    else:
        outcome = Outcome.REFUSED
    return Event(operation, outcome, {"error": f"{type(error).__name__}: {error}"})
