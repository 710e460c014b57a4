"""`lockstep compare`: two index versions side by side."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.gates import results_table
from lockstep_indexer.cli.options import ROLLING_OUT, CorpusArgument, command, index_version
from lockstep_indexer.cli.render import next_step, printable, table
from lockstep_indexer.cli.session import Session
from lockstep_indexer.cli.status import version_json

if TYPE_CHECKING:
    from lockstep.bootstrap import Workspace
    from lockstep.gates.comparison import Change
    from lockstep.index.versions import IndexVersion

SHOWN_DOCUMENTS = 3


def compare(
    session: Session,
    corpus: CorpusArgument,
    candidate: Annotated[
        int | None,
        typer.Argument(
            metavar="A",
            parser=index_version,
            help="Without it: the newest candidate.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        int | None,
        typer.Argument(
            metavar="B", parser=index_version, help="Without it: the live one.", show_default=False
        ),
    ] = None,
) -> None:
    """Compare an index version with another.

    Quality, drift and latency: both are asked the same queries, in turn. These are the imported
    judgments (lockstep qrels import), logged queries, or else titles and first sentences. Shows
    the queries whose answers changed most. Changes nothing.
    """
    from lockstep.index.generation import Generation

    with session.workspace() as workspace, session.waiting("comparing"):
        one, other = _versions(workspace, corpus, candidate, base)
        found = workspace.gatekeeper.compare(
            Generation.load(one, workspace.encoders), Generation.load(other, workspace.encoders)
        )
    session.show(
        {"corpus": corpus, "a": version_json(one), "b": version_json(other), **found.to_json()},
        Text.assemble(
            (one.collection, "name"),
            (f" ({one.model_ref}) against ", "faint"),
            (other.collection, "name"),
            (f" ({other.model_ref})", "faint"),
        ),
        results_table(found.results),
        *_changes(found.changes),
        next_step(f"lockstep promote {corpus} {one.number}", "Make it live, if its gates pass"),
    )


def _versions(
    workspace: "Workspace", corpus: str, candidate: int | None, base: int | None
) -> tuple["IndexVersion", "IndexVersion"]:
    from lockstep.errors import InvalidInput
    from lockstep.index.versions import State

    live = workspace.rollouts.live(corpus) if base is None else workspace.catalog.get(corpus, base)
    if candidate is None:
        waiting = workspace.catalog.in_state(corpus, State.CANDIDATE)
        if not waiting:
            raise InvalidInput(
                f"Corpus '{corpus}' has no candidate to compare with {live.label}.",
                next_step=f"Name a version, or build one: lockstep reindex {corpus} --model REF",
            )
        return waiting[-1], live
    one = workspace.catalog.get(corpus, candidate)
    for version in (one, live):
        if version.state in (State.BUILDING, State.FAILED, State.DROPPED):
            raise InvalidInput(
                f"Index version {version.label} of '{corpus}' is {version.state.value}; only live, "
                "retired and candidate versions can be compared.",
                next_step=f"See what there is: lockstep status {corpus}",
            )
    return one, live


def _changes(changes: list["Change"]) -> list[RenderableType]:
    if not changes or changes[0].overlap > 0.999:
        return [Text("No answer has changed.\n", "faint")]
    made = table("query", "overlap", "nDCG", "before", "after", right=["overlap", "nDCG"])
    for change in changes:
        gain = "" if change.gain is None else f"{change.gain:+.2f}"
        style = "" if not change.gain else "good" if change.gain > 0 else "bad"
        made.add_row(
            printable(change.query),
            f"{change.overlap:.2f}",
            Text(gain, style),
            *(
                Text(printable(", ".join(ids[:SHOWN_DOCUMENTS])), "faint")
                for ids in (change.before, change.after)
            ),
        )
    return [Text("Most changed", "bold"), made]


def add_to(app: typer.Typer) -> None:
    command(app, "compare", panel=ROLLING_OUT, example="lockstep compare docs v3 v2")(compare)
