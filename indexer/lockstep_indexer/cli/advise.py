"""`lockstep advise`: should you fine-tune, and was it worth it?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.options import TRAINING, CorpusArgument, command
from lockstep_indexer.cli.render import (
    duration,
    facts,
    heading,
    next_step,
    note,
    plural,
    printable,
    table,
)
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep.bootstrap import Workspace
    from lockstep.corpus.query_sets import QuerySet
    from lockstep_indexer.advise.rules import Advice
    from lockstep_indexer.advise.run import GainReport, Given
    from lockstep_indexer.advise.situation import Baseline, Situation

_MARKS = {
    "against": ("✗ against", "bad"),
    "unknown": ("? unknown", "warn"),
    "first": ("! first", "warn"),
    "for": ("✓ for", "good"),
    "note": ("· note", "faint"),
}
_SHOWN_CHARS = 300


def advise(
    session: Session,
    corpus: CorpusArgument,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="The model to start from. By default the live version's; another one is measured "
            "on a temporary index.",
        ),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            "--pairs", metavar="FILE", help="What there is to train with. May be given again."
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, metavar="NDCG", help="The nDCG@10 that is wanted."),
    ] = None,
    qrels: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|NAME",
            help="Judged queries: imported ones by name, or a BEIR folder. By default the newest "
            "imported.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which judgments of a BEIR folder.")] = "test",
    queries: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many of them to ask at most.")
    ] = 500,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="BASE TUNED",
            help="Judge the gain of one model over another instead.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say whether to fine-tune, or what to make of a gain.

    Measures search as it is, counts the pairs, reckons the re-index, and gives its reasons with
    their figures. With --compare, says whether a gain is too good, too small or proven. Changes
    nothing.
    """
    from lockstep_indexer.advise.run import gain_report, situation_of

    with session.workspace() as workspace, session.bars() as bars:
        bars.stage("reading")
        given = _given(workspace, corpus, pairs or [], qrels, split, queries)
        if compare is not None:
            shown = _gains_shown(gain_report(workspace, given, *compare, bars.stage), compare)
        else:
            shown = _answer_shown(situation_of(workspace, given, model, target, bars.stage))
    session.show(*shown)


def _given(
    workspace: "Workspace",
    corpus: str,
    pairs: list[Path],
    qrels: str | None,
    split: str,
    queries: int,
) -> "Given":
    from lockstep_indexer.advise.run import Given
    from lockstep_indexer.train.data.documents import corpus_documents
    from lockstep_indexer.train.data.reading import read_training_data

    documents = corpus_documents(workspace.corpora, corpus)  # raises CorpusNotFound
    judged = _judged(workspace, corpus, qrels, split)
    training = read_training_data(pairs, documents=documents) if pairs else None
    return Given(corpus, judged, training, pairs, queries)


def _judged(
    workspace: "Workspace", corpus: str, qrels: str | None, split: str
) -> "QuerySet | None":
    from lockstep.errors import QuerySetNotFound
    from lockstep_indexer.train.negatives.held_out import judged_queries

    if qrels is not None:
        return judged_queries(workspace, corpus, qrels, split)
    try:
        return workspace.query_sets.get(corpus)
    except QuerySetNotFound:
        return None


def _answer_shown(situation: "Situation") -> tuple[Any, ...]:
    """The document, and what people read."""
    from lockstep_indexer.advise.fine_tuning import should_fine_tune

    answer = should_fine_tune(situation)
    document: Json = {
        "corpus": situation.corpus,
        "verdict": str(answer.verdict),
        "next_step": answer.next_step,
        "advice": [vars(one) for one in answer.advice],
        "situation": situation.to_json(),
    }
    return (
        document,
        heading(
            f"Fine-tune for {situation.corpus}? {str(answer.verdict).capitalize()}.", _on(situation)
        ),
        _known(situation),
        Text(""),
        _advice_table(answer.advice),
        next_step(answer.next_step),
    )


def _on(situation: "Situation") -> str:
    return f"starting from {situation.model}" if situation.model else ""


def _known(situation: "Situation") -> RenderableType:
    base, pairs, reindex = situation.baseline, situation.pairs, situation.reindex
    unknown = "not known"
    rows: list[tuple[str, object]] = [
        ("documents", f"{situation.documents:,}"),
        ("judged by", f"{base.queries:,} queries of '{base.judged}'" if base else unknown),
        ("nDCG@10", _ndcg(base) if base else unknown),
        ("target", f"{situation.target:.3f}" if situation.target is not None else "none given"),
        ("pairs", f"{pairs.distinct:,} distinct" if pairs else "none given"),
        ("re-index", f"about {duration(reindex.seconds)}" if reindex else unknown),
    ]
    return facts(rows)


def _ndcg(base: "Baseline") -> str:
    return (
        f"dense {base.dense:.3f} ± {base.uncertain:.3f}, hybrid {base.hybrid:.3f}, "
        f"BM25 {base.bm25:.3f}"
    )


def _advice_table(advice: Sequence["Advice"]) -> RenderableType:
    made = table("", "what is, and why it matters", "next")
    for one in advice:
        what = Text(one.finding)
        what.append(f"\n{one.reason}", "faint")
        made.add_row(Text(*_MARKS[one.leaning.value]), what, Text(one.next_step, "command"))
    return made


def _gains_shown(report: "GainReport", compare: tuple[str, str]) -> tuple[Any, ...]:
    base, tuned = compare
    document: Json = {
        "base": base,
        "tuned": tuned,
        "gains": [one.to_json() for one in report.gains],
        "pairs_to_read": [list(pair) for pair in report.to_read],
        "pairs_are": report.read_from,
    }
    parts: list[RenderableType] = [heading(f"{tuned} against {base}")]
    for one in report.gains:
        parts += [Text(""), Text(one.gain.way, "bold"), _advice_table(one.advice)]
    if report.to_read:
        parts += [
            Text(""),
            note(f"{plural(len(report.to_read), f'{report.read_from} pair')} to read:"),
        ]
        for query, passage in report.to_read:
            parts.append(Text(f"\n{printable(query)}", "name"))
            parts.append(Text(printable(passage)[:_SHOWN_CHARS], "faint"))
    return (document, *parts)


def add_to(app: typer.Typer) -> None:
    example = "lockstep advise docs --pairs pairs.jsonl --target 0.85"
    command(app, "advise", panel=TRAINING, example=example)(advise)
