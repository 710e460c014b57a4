"""Failures: one clear line, the next step, and an exit code.

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed: a line "error: ..." on stderr, and the next step on a line of its own |
| 2 | not understood: the command line itself is wrong |
| 130 | interrupted by Ctrl-C |

Under --json a failure is the one document on stdout, so that a script reads one stream only:
`{"error": {"type": ..., "message": ..., "next_step": ..., "exit_code": ...}}`.
"""

import json
from dataclasses import dataclass

from rich.text import Text

from lockstep.errors import InvalidInput, LockstepError
from lockstep_indexer.cli.render import printable
from lockstep_indexer.cli.streams import error_console, write_line

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Failure:
    """What went wrong, in words for people."""

    type: str
    message: str
    next_step: str
    exit_code: int = FAILED


def of_lockstep(error: LockstepError) -> Failure:
    wrong_input = isinstance(error, InvalidInput)
    usual = (
        "Correct that and run it again." if wrong_input else "See how it stands: lockstep status"
    )
    return Failure(type(error).__name__, error.message, error.next_step or usual)


def of_os(error: OSError) -> Failure:
    """A file that cannot be read or written, a disk that is full, a port that is taken."""
    where = f": '{error.filename}'" if error.filename else ""
    return Failure(
        type(error).__name__,
        f"{error.strerror or error}{where}.",
        "Check that the path exists and that you may read and write it.",
    )


def of_usage(message: str, command: str) -> Failure:
    plain = message.replace("Value error, ", "")  # pydantic's, by which Typer reads values
    return Failure("UsageError", plain, f"See: {command} --help", USAGE)


def of_interrupt() -> Failure:
    return Failure(
        "Interrupted",
        "Interrupted. What was finished is kept.",
        "It is safe to run the same command again; a build or a training goes on where it stopped.",
        INTERRUPTED,
    )


def of_unexpected(error: BaseException) -> Failure:
    return Failure(
        type(error).__name__,
        f"unexpected {type(error).__name__}: {error}",
        "Run it again with -v to see where it comes from, and report it with that output.",
    )


def failure_of(error: BaseException) -> Failure:
    """Put any exception into words."""
    if isinstance(error, LockstepError):
        return of_lockstep(error)
    if isinstance(error, OSError) and error.strerror:
        return of_os(error)
    if isinstance(error, MemoryError):
        return Failure("MemoryError", "The memory is full.", "Free some, and run it again.")
    return of_unexpected(error)


def report(failure: Failure, *, as_json: bool) -> int:
    """Print a failure and return its exit code."""
    if as_json:
        write_line(json.dumps({"error": vars(failure)}, ensure_ascii=False))
        return failure.exit_code
    console = error_console()
    style = "warn" if failure.exit_code == INTERRUPTED else "bad"
    label = "" if failure.exit_code == INTERRUPTED else "error: "
    console.print(
        Text.assemble((label, f"bold {style}"), printable(failure.message)), soft_wrap=True
    )
    if failure.next_step:
        console.print(Text.assemble(("→ ", "faint"), printable(failure.next_step)), soft_wrap=True)
    return failure.exit_code
