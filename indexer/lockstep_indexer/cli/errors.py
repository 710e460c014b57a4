"""Failures: one clear line, the next step, and an exit code.

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed: one line that begins with "error:", and the next step on a line of its own, on stderr |
| 2 | not understood: the command line itself is wrong |
| 130 | interrupted by Ctrl-C |

Under --json a failure is the one document on stdout, so that a script reads one stream only:
`{"error": {"type": ..., "message": ..., "next_step": ..., "exit_code": ...}}`.
"""

import json
from dataclasses import dataclass

from rich.text import Text

from lockstep.errors import LockstepError, StorageFull
from lockstep_indexer.cli.streams import error_console, write_line

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class CheckFailed(LockstepError):
    """Something that `lockstep doctor` looked at is not as it should be."""


@dataclass(frozen=True)
class Failure:
    """What went wrong, in words for people."""

    type: str
    message: str
    next_step: str
    exit_code: int = FAILED


def of_lockstep(error: LockstepError) -> Failure:
    return Failure(type(error).__name__, error.message, error.next_step)


def of_os(error: OSError) -> Failure:
    """A file that cannot be read or written, a disk that is full, a port that is taken."""
    where = f": '{error.filename}'" if error.filename else ""
    return Failure(
        type(error).__name__,
        f"{error.strerror or error}{where}.",
        "Check that the path exists and that you may read and write it.",
    )


def of_usage(message: str, command: str) -> Failure:
    return Failure("UsageError", message, f"See: {command} --help", USAGE)


def of_interrupt() -> Failure:
    return Failure(
        "Interrupted",
        "interrupted. What was finished is kept.",
        "It is safe to run the same command again: it goes on where it stopped.",
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
        return of_lockstep(StorageFull("The memory is full.", next_step="Free some memory."))
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
        Text.assemble((label, f"bold {style}"), _one_line(failure.message)), soft_wrap=True
    )
    if failure.next_step:
        console.print(
            Text.assemble(("→ ", "faint"), _one_line(failure.next_step)), soft_wrap=True
        )
    return failure.exit_code


def _one_line(text: str) -> str:
    return " ".join(text.split())
