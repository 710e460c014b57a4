"""A session: the options that every command has, and where its output goes."""

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.logging import RichHandler

from lockstep_indexer.cli.progress import Bars
from lockstep_indexer.cli.streams import error_console, output_console, write_line

if TYPE_CHECKING:
    from lockstep.bootstrap import Workspace
    from lockstep.settings import Settings

Json = dict[str, Any]


@dataclass(frozen=True)
class Session:
    """One run of one command."""

    command: str  # "lockstep reindex": how this process is named to others
    folder: Path | None  # of the workspace, where the user named it
    json: bool
    verbose: bool
    out: Console
    err: Console

    @property
    def root(self) -> Path:
        """The workspace's folder; raises InvalidSetting where there is none."""
        from lockstep.settings import find_workspace

        return self.folder.absolute() if self.folder else find_workspace(Path.cwd())

    def settings(self) -> "Settings":
        from lockstep.settings import load_settings

        return load_settings(self.root)

    @contextmanager
    def workspace(self) -> Iterator["Workspace"]:
        """The workspace, open until the block ends."""
        settings = self.settings()
        from lockstep.api.logs import auditing
        from lockstep.bootstrap import assemble

        with auditing(settings), assemble(settings, command=self.command) as workspace:
            yield workspace

    def bars(self) -> Bars:
        """Progress on stderr, for as long as the block lasts."""
        return Bars(self.err)

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """A spinner on stderr in a terminal; it leaves nothing behind."""
        return self.err.status(f"{what} …") if self.err.is_terminal else nullcontext()

    def show(self, document: Json, *renderables: RenderableType) -> None:
        """Print what a command did: the document under --json, else the renderables."""
        if self.json:
            write_line(json.dumps(document, ensure_ascii=False, allow_nan=False, default=str))
            return
        for renderable in renderables:
            self.out.print(renderable)


def open_session(command: str, *, folder: Path | None, json: bool, verbose: bool) -> Session:
    """Start a session; `verbose` sends the logs to stderr."""
    err = error_console()
    if verbose:
        handler = RichHandler(console=err, show_path=False, omit_repeated_times=False)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
        logging.getLogger("lockstep").setLevel(logging.DEBUG)
    return Session(command, folder, json, verbose, output_console(), err)
