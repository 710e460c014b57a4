"""`lockstep trial`: let a share of the live searches meet a version before it is promoted."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.options import (
    ROLLING_OUT,
    CorpusArgument,
    ReasonOption,
    VersionArgument,
    command,
)
from lockstep_indexer.cli.render import age, done, facts, heading, next_step, note, table
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.bootstrap import Workspace
    from lockstep.index.trials import Trial
    from lockstep.search.trial_report import TrialReport

_FIGURES = ("answers", "failed", "p50 ms", "p95 ms")
_NONE = Text("–", "faint")


def _share(help: str) -> Any:
    return typer.Option(min=0.0, max=1.0, metavar="SHARE", help=help)


def start(
    session: Session,
    corpus: CorpusArgument,
    version: VersionArgument = None,
    shadow: Annotated[float, _share("Of the searches: repeat them on it, unseen.")] = 0.0,
    canary: Annotated[float, _share("Of the callers: let it answer them.")] = 0.0,
    interleave: Annotated[float, _share("Of the callers: show the best of both in turns.")] = 0.0,
    max_error_share: Annotated[
        float, _share("Stop when surely more of its answers fail than this.")
    ] = 0.02,
    max_latency_ratio: Annotated[
        float,
        typer.Option(
            min=1.0,
            metavar="X",
            help="Stop when its p95 is surely more than this many times that of live.",
        ),
    ] = 2.0,
    reason: ReasonOption = "",
) -> None:
    """Let a share of the live searches meet a version.

    Servers follow within a second, once they have loaded it. A search that fails on it is answered
    by the live version. The trial stops by itself where a limit is passed, and ends when a version
    goes live.
    """
    from lockstep.index.trials import Exposure

    exposure = Exposure(shadow, canary, interleave, max_error_share, max_latency_ratio)
    with session.workspace() as workspace:
        live = workspace.rollouts.live(corpus)
        trial = workspace.trials.start(live, version, exposure, reason=reason)
        document = _document(workspace, trial)
    session.show(
        document,
        done(f"v{trial.number} of '{corpus}' meets live traffic: {_shares(trial)}"),
        next_step(f"lockstep trial show {corpus}", "What it shows"),
        next_step(f"lockstep trial stop {corpus}", "To end it"),
    )


def stop(
    session: Session,
    corpus: CorpusArgument,
    reason: ReasonOption = "",
) -> None:
    """End a trial: live answers every search again."""
    with session.workspace() as workspace:
        workspace.corpora.info(corpus)  # raises CorpusNotFound
        trial = workspace.trials.stop(corpus, reason=reason)
        document = _document(workspace, trial)
    session.show(
        document,
        done(f"v{trial.number} of '{corpus}' meets no live traffic any more"),
        next_step(f"lockstep trial show {corpus}", "What it has shown"),
    )


def show(session: Session, corpus: CorpusArgument) -> None:
    """Show what a trial has found out so far.

    The running one, or the last one. The figures are the sum over all servers.
    """
    from lockstep.search.trial_report import TrialReport

    with session.workspace() as workspace:
        workspace.corpora.info(corpus)  # raises CorpusNotFound
        trial = workspace.trials.latest(corpus)
        report = TrialReport.of(workspace.trials, workspace.query_log, trial)
    session.show(report.to_json(), *_rendered(report))


def _document(workspace: "Workspace", trial: "Trial") -> Json:
    from lockstep.search.trial_report import TrialReport

    return TrialReport.of(workspace.trials, workspace.query_log, trial).to_json()


def _rendered(report: "TrialReport") -> list[RenderableType]:
    trial, figures = report.trial, report.to_json()
    parts: list[RenderableType] = [
        heading(f"{trial.corpus} v{trial.number} against v{trial.live}", trial.state.value),
        facts(
            [
                ("traffic", _shares(trial)),
                ("started", f"{age(trial.started_at)} by {trial.actor}"),
                ("ended", age(trial.ended_at) if trial.ended_at else None),
                ("why", trial.reason),
            ]
        ),
        Text(""),
        _answers(figures),
    ]
    shadow = figures["shadow"]
    if shadow["jaccard"] or shadow["failed"] or shadow["dropped"]:
        parts += [Text(""), _overlap(shadow)]
    if trial.exposure.interleave:
        parts += [Text(""), _preference(figures["preference"])]
    if not report.counts.live.count and not report.counts.candidate.count:
        parts.append(note("No server has counted a search yet."))
    return parts


def _shares(trial: "Trial") -> str:
    exposure = trial.exposure
    shares = {
        "shadow": exposure.shadow,
        "canary": exposure.canary,
        "interleave": exposure.interleave,
    }
    return ", ".join(f"{name} {share:.3g}" for name, share in shares.items() if share)


def _answers(figures: Json) -> RenderableType:
    """Who answered how many searches; the interval of the p95 in faint."""
    made = table("answered by", *_FIGURES, right=_FIGURES)
    rows = {
        "live": figures["answers"]["live"],
        "candidate": figures["answers"]["candidate"],
        "both, interleaved": figures["answers"]["interleaved"],
        "copies (shadow)": figures["shadow"],
    }
    for name, row in rows.items():
        if row["answered"] or row["failed"]:
            failed = Text(f"{row['failed']:,}", "bad" if row["failed"] else "")
            made.add_row(Text(name, "name"), f"{row['answered']:,}", failed, *_times(row["times"]))
    return made


def _times(times: Json | None) -> tuple[Text, Text]:
    if times is None:
        return _NONE, _NONE
    p95 = Text(f"{times['p95_ms']:.1f}")
    p95.append(f" ({times['p95_low_ms']:.1f} to {times['p95_high_ms']:.1f})", "faint")
    return Text(f"{times['p50_ms']:.1f}"), p95


def _overlap(shadow: Json) -> RenderableType:
    """How far the copies' answers agree with those that were given, with 95 % intervals."""
    pairs: list[tuple[str, object]] = [
        ("same in the first ten (Jaccard)", _mean(shadow["jaccard"])),
        ("same order (RBO)", _mean(shadow["rbo"])),
    ]
    if shadow["dropped"]:
        pairs.append(("copies dropped", f"{shadow['dropped']:,}: the server was never quiet"))
    return facts(pairs)


def _mean(mean: Json | None) -> str | None:
    if mean is None:
        return None
    interval = "" if mean["low"] is None else f" ({mean['low']:.3f} to {mean['high']:.3f})"
    return f"{mean['mean']:.3f}{interval}"


def _preference(preference: Json) -> RenderableType:
    share = preference["share"]
    interval = f"{preference['low']:.0%} to {preference['high']:.0%}" if share is not None else ""
    won = "" if share is None else f"{share:.0%} of {preference['wins'] + preference['losses']:,}"
    return facts(
        [
            ("clicked answers it won", f"{won} ({interval})" if won else None),
            ("ties", preference["ties"] or None),
            ("in words", preference["verdict"]),
        ]
    )


def add_to(app: typer.Typer) -> None:
    trials = typer.Typer(
        help="Let live traffic meet a version before it is promoted.",
        epilog="Example: [cyan]lockstep trial start docs --shadow 0.1 --canary 0.05[/]",
        no_args_is_help=True,
    )
    example = "lockstep trial start docs v3 --shadow 0.1 --canary 0.05"
    command(trials, "start", example=example)(start)
    command(trials, "stop", example="lockstep trial stop docs")(stop)
    command(trials, "show", example="lockstep trial show docs")(show)
    app.add_typer(trials, name="trial", rich_help_panel=ROLLING_OUT)
