"""One line of the checklist."""

from dataclasses import dataclass
from enum import StrEnum

from lockstep.errors import LockstepError


class Level(StrEnum):
    """How a check came out."""

    GOOD = "good"
    WARN = "warn"  # works, but somebody should know
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and what mends it."""

    name: str
    level: Level
    message: str
    mend: str = ""  # the command or the sentence that helps


def good(name: str, message: str) -> Check:
    return Check(name, Level.GOOD, message)


def warn(name: str, message: str, mend: str) -> Check:
    return Check(name, Level.WARN, message, mend)


def bad(name: str, message: str, mend: str) -> Check:
    return Check(name, Level.BAD, message, mend)


def failed(name: str, error: LockstepError, mend: str = "") -> Check:
    """What an error says, and its own next step before any other."""
    return Check(name, Level.BAD, error.message, error.next_step or mend)
