"""`lockstep status`: corpora, their index versions, and what was done to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.options import CARING, command
from lockstep_indexer.cli.render import (
    age,
    duration,
    facts,
    heading,
    next_step,
    note,
    plural,
    state,
    table,
)
from lockstep_indexer.cli.rollouts import ended, step_json, steps_table
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.bootstrap import Workspace
    from lockstep.corpus.change_log import CorpusInfo
    from lockstep.index.catalog import RolloutStep
    from lockstep.index.replicas import Replica
    from lockstep.index.trials import Trial
    from lockstep.index.versions import IndexVersion

SHOWN_STEPS = 5

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
        steps = list(workspace.catalog.history(corpus, limit=3 * SHOWN_STEPS))
        standing = _standing(workspace, corpus, versions)
    session.show(
        {
            "corpus": corpus,
            "documents": info.documents,
            "head_seq": info.head_seq,
            "versions": [version_json(version, info.head_seq) for version in versions],
            "soaking": [
                {"number": version.number, "seconds_left": round(left_s)}
                for version, left_s in standing.soaking
            ],
            "servers": [
                {"url": each.url, "collection": each.collection, "process": each.holder.pid}
                for each in standing.servers
            ],
            "trial": standing.trial and standing.trial.number,
            "steps": [step_json(step) for step in ended(steps)[:SHOWN_STEPS]],
        },
        heading(corpus, f"{plural(info.documents, 'document')}, change {info.head_seq:,}"),
        *_versions(info, versions),
        *_traffic(standing),
        *_steps(corpus, steps),
    )


@dataclass(frozen=True)
class _Standing:
    """What is going on around a corpus's versions now."""

    soaking: "list[tuple[IndexVersion, float]]"  # with the seconds that are left
    servers: "Sequence[Replica]"
    trial: "Trial | None"


def _standing(workspace: "Workspace", corpus: str, versions: "list[IndexVersion]") -> _Standing:
    retirement = workspace.retirement
    soaking = [
        (version, retirement.soaks_for(version))
        for version in versions
        if retirement.is_soaking(version)
    ]
    servers = workspace.replicas.serving(corpus)
    return _Standing(soaking, servers, workspace.trials.running().get(corpus))


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
        "encoded_in_fp8": version.encoded_in_fp8,
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
            "\n+ ".join(version.model_refs),
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


def _steps(corpus: str, steps: list["RolloutStep"]) -> list[RenderableType]:
    if not steps:
        return []
    more = next_step(f"lockstep rollouts {corpus}", "All of them")
    return [Text(""), heading("Last steps"), steps_table(ended(steps)[:SHOWN_STEPS]), more]


def _traffic(standing: "_Standing") -> list[RenderableType]:
    """Which servers answer from what, what soaks, and the trial that is running."""
    lines: list[tuple[str, object]] = []
    for version, left_s in standing.soaking:
        left = f"ready for a rollback, for {duration(left_s)} more"
        lines.append(("soaking", f"{version.label} ({version.model_ref}) {left}"))
    for replica in standing.servers:
        place = f"{replica.holder.host}, process {replica.holder.pid}"
        lines.append(("server", f"{replica.url or place} answers from {replica.collection}"))
    if standing.trial is not None:
        lines.append(("trial", _trial(standing.trial)))
    return [Text(""), facts(lines)] if lines else []


def _trial(trial: "Trial") -> str:
    shares = {
        name: share
        for name in ("shadow", "canary", "interleave")
        if (share := getattr(trial.exposure, name))
    }
    what = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return f"v{trial.number} beside v{trial.live}: {what}, since {age(trial.started_at)}"


def add_to(app: typer.Typer) -> None:
    command(app, "status", panel=CARING, example="lockstep status docs")(status)
