"""`lockstep status`: corpora, their index versions, and what was done to them."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.options import CARING, command
from lockstep_indexer.cli.render import age, heading, moment, next_step, note, plural, state, table
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.bootstrap import Workspace
    from lockstep.corpus.change_log import CorpusInfo
    from lockstep.index.catalog import RolloutStep
    from lockstep.index.versions import IndexVersion

SHOWN_STEPS = 10

OptionalCorpus = Annotated[
    str | None,
    typer.Argument(metavar="CORPUS", help="One corpus; without it, all of them."),
]


def status(session: Session, corpus: OptionalCorpus = None) -> None:
    """Show every corpus, or all about one.

    Of one corpus: its index versions, and the last steps of its rollouts. Lag counts the changes
    that an index version has not applied yet.
    """
    with session.workspace() as workspace:
        if corpus is None:
            rows = [_overview(workspace, name) for name in workspace.corpora.names()]
            root = str(workspace.settings.root)
            session.show({"workspace": root, "corpora": rows}, *_corpora(root, rows))
            return
        info = workspace.corpora.info(corpus)
        workspace.rollouts.reconcile(corpus)
        versions = workspace.catalog.versions(corpus)
        steps = list(workspace.catalog.history(corpus, limit=SHOWN_STEPS))
    session.show(
        {
            "corpus": corpus,
            "documents": info.documents,
            "head_seq": info.head_seq,
            "versions": [version_json(version, info.head_seq) for version in versions],
            "steps": [_step_json(step) for step in steps],
        },
        heading(corpus, f"{plural(info.documents, 'document')}, change {info.head_seq:,}"),
        *_versions(info, versions),
        *_steps(steps),
    )


def version_json(version: "IndexVersion", head_seq: int | None = None) -> Json:
    """An index version as every command's --json shows it."""
    shown = {
        "number": version.number,
        "collection": version.collection,
        "state": version.state.value,
        "model": version.model_ref,
        "applied_seq": version.applied_seq,
        "predecessor": version.predecessor,
        "reason": version.reason,
        "created_at": version.created_at,
        "spec": version.spec.to_json(),
    }
    return shown if head_seq is None else {**shown, "lag": head_seq - version.applied_seq}


def _overview(workspace: "Workspace", corpus: str) -> Json:
    from lockstep.errors import NoLiveIndex
    from lockstep.index.versions import State

    info, problem, live = workspace.corpora.info(corpus), None, None
    try:
        live = workspace.rollouts.reconcile(corpus)
    except NoLiveIndex as error:  # one broken corpus must not hide the others
        problem = str(error)
    others = [
        version
        for version in workspace.catalog.versions(corpus)
        if version.state not in (State.LIVE, State.DROPPED)
    ]
    return {
        "name": corpus,
        "documents": info.documents,
        "head_seq": info.head_seq,
        "live": version_json(live, info.head_seq) if live else None,
        "others": [version_json(version, info.head_seq) for version in others],
        "problem": problem,
    }


def _corpora(root: str, rows: list[Json]) -> list[RenderableType]:
    if not rows:
        return [
            heading(root, "no corpus yet"),
            next_step("lockstep ingest CORPUS FILE...", "Add documents"),
        ]
    made = table(
        "corpus", "documents", "live", "model", "lag", "others", right=["documents", "lag"]
    )
    for row in rows:
        live, others = (
            row["live"],
            Text(", ").join(
                Text.assemble(f"v{other['number']} ", state(other["state"]))
                for other in row["others"]
            ),
        )
        if live is None:
            made.add_row(
                Text(row["name"], "name"),
                f"{row['documents']:,}",
                Text("none", "bad" if row["problem"] else "faint"),
                "",
                "",
                others,
            )
            continue
        made.add_row(
            Text(row["name"], "name"),
            f"{row['documents']:,}",
            Text(f"v{live['number']}", "good"),
            live["model"],
            lag(live["lag"]),
            others,
        )
    problems = [note(f"{row['name']}: {row['problem']}") for row in rows if row["problem"]]
    return [heading(root), made, *problems]


def lag(changes: int) -> Text:
    return Text(f"{changes:,}", "warn" if changes else "faint")


def _versions(info: "CorpusInfo", versions: list["IndexVersion"]) -> list[RenderableType]:
    if not versions:
        command_line = f"lockstep reindex {info.name} --model REF --promote"
        return [note("No index version yet."), next_step(command_line, "Build one")]
    made = table(
        "version", "state", "model", "lag", "prefilter", "stored as", "built",
        right=["lag", "prefilter"],
    )  # fmt: skip
    for version in reversed(versions):
        spec = version.spec
        gone = version.state.value == "dropped"
        made.add_row(
            Text(version.label, "name"),
            state(version.state.value),
            version.model_ref,
            Text("–", "faint") if gone else lag(info.head_seq - version.applied_seq),
            str(spec.prefilter_dim or "–"),
            spec.datatype
            if spec.quantization == "none"
            else f"{spec.datatype}, {spec.quantization}",
            age(version.created_at),
            style="faint" if gone else "",
        )
    reasons = [
        note(f"{version.label} failed: {version.reason}")
        for version in versions
        if version.state.value == "failed" and version.reason
    ]
    return [made, *reasons]


def _steps(steps: list["RolloutStep"]) -> list[RenderableType]:
    if not steps:
        return []
    made = table("when", "step", "from", "to", "outcome", "by")
    styles = {"done": "good", "failed": "bad"}
    for step in _ended(steps):
        made.add_row(
            moment(step.at),
            step.step,
            f"v{step.from_version}" if step.from_version else "–",
            f"v{step.to_version}" if step.to_version else "–",
            Text.assemble(
                (step.outcome, styles.get(step.outcome, "faint")),
                (f"  {step.detail}" if step.detail else "", "faint"),
            ),
            Text(step.actor, "faint"),
        )
    return [Text(""), heading("Last steps"), made]


def _ended(steps: list["RolloutStep"]) -> list["RolloutStep"]:
    """Without the beginnings of what has ended since; the newest step may still be at work."""
    return [step for step in steps if step.outcome != "started" or step is steps[0]]


def _step_json(step: "RolloutStep") -> Json:
    return {
        "at": step.at,
        "step": step.step,
        "from_version": step.from_version,
        "to_version": step.to_version,
        "actor": step.actor,
        "outcome": step.outcome,
        "detail": step.detail,
    }


def add_to(app: typer.Typer) -> None:
    command(app, "status", panel=CARING, example="lockstep status docs")(status)
