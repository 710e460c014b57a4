"""What the commands that make pairs share: where these go, and what is said of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from lockstep_indexer.cli.render import done, heading, next_step, note, plural, printable
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep_indexer.train.data.examples import TrainingData

SHOWN_PAIRS = 3
_SHOWN_CHARS = 76

OutputOption = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write them, as .jsonl; a file that is there gives way.",
        show_default=False,
    ),
]


def write(session: Session, output: Path, data: "TrainingData", *, source: str) -> None:
    """Write the pairs, and show how many there are and what the first of them say."""
    from lockstep_indexer.train.data.row_files import pair_rows, write_rows

    write_rows(output, pair_rows(data), data.lineage)
    document: Json = {
        "output": str(output),
        "pairs": len(data),
        "fingerprint": data.fingerprint,
        "lineage": data.lineage,
    }
    parts: list[RenderableType] = [
        done(f"{plural(len(data), 'pair')} from {source} in {output}"),
        *(shown for one in data.examples[:SHOWN_PAIRS] for shown in _pair(one.query, one.passage)),
        *(note(text) for text in data.lineage.get("notes", ())),
        next_step(f"lockstep pairs check {output}", "Check them"),
    ]
    session.show(document, *parts)


def _pair(query: str, passage: str) -> tuple[RenderableType, RenderableType]:
    return heading("", f"? {_cut(query)}"), heading("", f"  {_cut(passage)}")


def _cut(text: str) -> str:
    line = printable(text)
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS - 1]}…"
