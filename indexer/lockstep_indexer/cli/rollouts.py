"""`lockstep rollouts`: what was done to the index versions of a corpus, when, by whom, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.gates import report_rendered
from lockstep_indexer.cli.options import ROLLING_OUT, CorpusArgument, command
from lockstep_indexer.cli.render import facts, heading, moment, next_step, note, plural, table
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.index.catalog import RolloutStep
    from lockstep.index.gate_report import GateReport

_OUTCOMES = {"done": "good", "failed": "bad"}


def rollouts(
    session: Session,
    corpus: CorpusArgument,
    step: Annotated[
        int | None,
        typer.Argument(
            metavar="ID", min=1, help="One step in full, with its gates.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="How many steps, newest first.")
    ] = 50,
) -> None:
    """Show what was done to a corpus's index versions.

    Who built, promoted, rolled back, repaired or dropped which version, when and why, how it ended,
    and what the gates said. With an ID: that step in full.
    """
    if step is not None:
        _one(session, corpus, step)
        return
    with session.workspace() as workspace:
        workspace.corpora.info(corpus)  # raises CorpusNotFound
        steps = workspace.catalog.history(corpus, limit=limit)
    session.show(
        {"corpus": corpus, "steps": [step_json(each) for each in steps]}, *_all(corpus, steps)
    )


def _one(session: Session, corpus: str, step_id: int) -> None:
    from lockstep.errors import InvalidInput

    with session.workspace() as workspace:
        workspace.corpora.info(corpus)
        step = workspace.catalog.step(corpus, step_id)
    if step is None:
        raise InvalidInput(
            f"The history of '{corpus}' has no step {step_id}.",
            next_step=f"List them: lockstep rollouts {corpus}",
        )
    document = step_json(step) | {"report": step.report.to_json() if step.report else None}
    session.show({"corpus": corpus, "step": document}, *_full(corpus, step))


def step_json(step: "RolloutStep") -> Json:
    """A step as every command's --json shows it."""
    return {
        "id": step.id,
        "at": step.at,
        "step": step.step,
        "from_version": step.from_version,
        "to_version": step.to_version,
        "actor": step.actor,
        "outcome": step.outcome,
        "detail": step.detail,
        "reason": step.reason,
        "gates": verdict(step.report),
    }


def verdict(report: "GateReport | None") -> str | None:
    """The verdict of all gates in a word or two; None where they did not measure."""
    if report is None:
        return None
    if report.failed:
        return f"{len(report.failed)} failed"
    flagged = sum(result.verdict.value == "flagged" for result in report.results)
    return f"passed, {flagged} flagged" if flagged else "passed"


def steps_table(steps: Sequence["RolloutStep"]) -> RenderableType:
    """A line for each step, newest first; beginnings of what has ended since are left out."""
    made = table("id", "when", "step", "from", "to", "outcome", "gates", "by", right=["id"])
    for step in ended(steps):
        made.add_row(
            Text(str(step.id), "faint"),
            moment(step.at),
            step.step,
            version_label(step.from_version),
            version_label(step.to_version),
            _outcome(step),
            _gates(step.report),
            Text(step.actor, "faint"),
        )
    return made


def ended(steps: Sequence["RolloutStep"]) -> list["RolloutStep"]:
    """Without the beginnings of what has ended since; what has not may still be at work."""
    kept: list[RolloutStep] = []
    over: dict[tuple[str, int | None, str], int] = {}
    for step in steps:  # newest first: an end comes before its beginning
        key = (step.step, step.to_version, step.actor)
        if step.outcome != "started":
            over[key] = over.get(key, 0) + 1
        elif over.get(key):
            over[key] -= 1
            continue
        kept.append(step)
    return kept


def version_label(number: int | None) -> str:
    return f"v{number}" if number else "–"


def _outcome(step: "RolloutStep") -> Text:
    said = Text(step.outcome, _OUTCOMES.get(step.outcome, "warn"))
    if step.outcome == "started":
        said.append("  not ended: still at work, or killed", "faint")
    if step.reason:
        said.append(f"  “{step.reason}”")
    if step.detail:
        said.append(f"\n{step.detail}", "faint")
    return said


def _gates(report: "GateReport | None") -> Text:
    said = verdict(report)
    if report is None or said is None:
        return Text("–", "faint")
    return Text(said, "bad" if report.failed else "warn" if "flagged" in said else "good")


def _all(corpus: str, steps: Sequence["RolloutStep"]) -> list[RenderableType]:
    if not steps:
        return [
            note(f"Nothing was done to '{corpus}' yet."),
            next_step(f"lockstep reindex {corpus} --model REF --promote", "Build a first version"),
        ]
    parts: list[RenderableType] = [
        heading(corpus, plural(len(ended(steps)), "step")),
        steps_table(steps),
    ]
    judged = next((step for step in steps if step.report is not None), None)
    if judged is not None:
        parts.append(
            next_step(f"lockstep rollouts {corpus} {judged.id}", "See what the gates said")
        )
    return parts


def _full(corpus: str, step: "RolloutStep") -> list[RenderableType]:
    parts: list[RenderableType] = [
        heading(f"{corpus}: {step.step}", f"step {step.id}"),
        facts(
            [
                ("when", moment(step.at)),
                ("by", step.actor),
                ("from", version_label(step.from_version)),
                ("to", version_label(step.to_version)),
                ("outcome", Text(step.outcome, _OUTCOMES.get(step.outcome, "warn"))),
                ("why", step.reason),
                ("detail", step.detail),
                ("gates", verdict(step.report) or "not measured"),
            ]
        ),
    ]
    if step.report is not None:
        parts += [Text(""), *report_rendered(step.report)]
    return parts


def add_to(app: typer.Typer) -> None:
    command(app, "rollouts", panel=ROLLING_OUT, example="lockstep rollouts docs --limit 5")(
        rollouts
    )
