"""Commands in processes of their own that start at once, under the fork server.

What such a process leaves out is the interpreter's own start and end: tests of these two, and of
pipes and terminals, start `python -m lockstep_indexer` itself, which imports for seconds where a
model is needed.
"""

import os
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

from actions import fork_server

from lockstep_indexer.cli import main

WAIT_S = 60.0


def _run(arguments: list[str], cwd: Path, out: Path, err: Path) -> None:
    """What the process does: the command, with its output in files."""
    for path, descriptor in ((out, 1), (err, 2)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.setsid()  # a Ctrl-C in the terminal is for the tests
    os.chdir(cwd)
    sys.exit(main(arguments))


class CommandProcess:
    """A command that has started."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        folder = Path(tempfile.mkdtemp(dir=cwd))
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._arguments = arguments
        self._process = fork_server().Process(
            target=_run, args=(list(arguments), cwd, self._out, self._err)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def wait(self) -> CompletedProcess[str]:
        """Its exit code and what it said, once it has ended."""
        self._process.join(WAIT_S)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            raise AssertionError(f"not ended within {WAIT_S} s: {' '.join(self._arguments)}")
        said = (path.read_text() for path in (self._out, self._err))
        return CompletedProcess(self._arguments, code, *said)


def run_command(*arguments: str, cwd: Path) -> CompletedProcess[str]:
    return CommandProcess(*arguments, cwd=cwd).wait()
