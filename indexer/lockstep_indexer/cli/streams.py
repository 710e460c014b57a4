"""The two output streams: results on stdout, everything else on stderr."""

import io
import os
import sys

from rich.console import Console
from rich.theme import Theme

# Wide enough that no table is cut when another program reads it.
PIPE_WIDTH = 200

THEME = Theme(
    {
        "good": "green",
        "bad": "red",
        "warn": "yellow",
        "faint": "bright_black",
        "name": "bold",
        "command": "cyan",
        "match": "bold",
    }
)


class OutputConsole(Console):
    """A console whose reader may leave early: `lockstep search docs flu | head -1`."""

    def on_broken_pipe(self) -> None:
        silence_stdout()


def output_console() -> Console:
    return _console(OutputConsole, is_terminal=sys.stdout.isatty(), stderr=False)


def error_console() -> Console:
    return _console(Console, is_terminal=sys.stderr.isatty(), stderr=True)


def _console(kind: type[Console], *, is_terminal: bool, stderr: bool) -> Console:
    # Rich would take FORCE_COLOR for a terminal and then draw moving bars into a file.
    return kind(
        stderr=stderr,
        theme=THEME,
        highlight=False,
        width=None if is_terminal else PIPE_WIDTH,
        force_terminal=is_terminal,
        soft_wrap=False,
    )


def accept_any_text() -> None:
    """Let stdout replace what it cannot encode: file names may hold bytes that are no text."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def write_line(line: str) -> None:
    """Write one line to stdout; a reader that has left is no failure."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()


def silence_stdout() -> None:
    """Send what is left to nowhere, so that the interpreter's last flush does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
