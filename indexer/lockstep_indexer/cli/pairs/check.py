"""`lockstep pairs check`: what training files hold, and what they share with an evaluation."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from lockstep_indexer.cli.errors import FAILED
from lockstep_indexer.cli.options import command
from lockstep_indexer.cli.render import done, facts, note, plural, printable, table
from lockstep_indexer.cli.session import Session
from lockstep_indexer.train.data.examples import Kind

if TYPE_CHECKING:
    from lockstep_indexer.train.data.checks import Report, Words
    from lockstep_indexer.train.data.contamination import Contamination
    from lockstep_indexer.train.data.documents import Documents

SHOWN_LEAKS = 5
_SHOWN_CHARS = 60


def check(
    session: Session,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Training data: .jsonl, .jsonl.gz, .csv, .parquet, a BEIR folder, or qrels.",
            show_default=False,
        ),
    ],
    kind: Annotated[
        Kind | None, typer.Option(help="Of the examples.", show_default="told by the columns")
    ] = None,
    split: Annotated[str, typer.Option(help="Which judgments of a BEIR folder.")] = "train",
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The queries of a qrels file: .jsonl, or id tab text."),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The corpus that holds the documents of a qrels file."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="What the model will be evaluated on: a BEIR folder, or as FILE."
        ),
    ] = None,
    against_split: Annotated[
        str, typer.Option(help="Which judgments of that BEIR folder.")
    ] = "test",
) -> None:
    """Check training data before a model is trained on it.

    Shows kind, counts and lengths, and warns. With --against also which queries and answers of the
    evaluation it repeats; exit code 1 where those are too many to trust its figures.
    """
    from lockstep_indexer.train.data.checks import check as checked
    from lockstep_indexer.train.data.contamination import HeldOut, find_leaks
    from lockstep_indexer.train.data.reading import read_training_data

    with ExitStack() as stack:
        documents = _documents(session, stack, corpus)
        stack.enter_context(session.waiting("reading"))
        data = read_training_data(
            files, kind=kind, split=split, queries=queries, documents=documents
        )
        report = checked(data)
        found = None
        if against is not None:
            held_out = read_training_data(
                [against], split=against_split, queries=queries, documents=documents
            )
            found = find_leaks(data, HeldOut.of(held_out))
    document = {
        **report.to_json(),
        "fingerprint": data.fingerprint,
        "files": data.lineage["files"],
        "contamination": found.to_json() if found else None,
    }
    session.show(document, *_rendered(report), *(_leaks(found) if found else ()))
    if found and not found.is_clean:
        raise typer.Exit(FAILED)


def _documents(session: Session, stack: ExitStack, corpus: str | None) -> "Documents | None":
    if corpus is None:
        return None
    from lockstep_indexer.train.data.documents import corpus_documents

    return corpus_documents(stack.enter_context(session.workspace()).corpora, corpus)


def _rendered(report: "Report") -> list[RenderableType]:
    labels = ", ".join(f"{count:,} {label}" for label, count in sorted(report.labels.items()))
    two = ("queries", "passages") if report.kind.is_retrieval else ("first texts", "second texts")
    return [
        done(f"{plural(report.distinct, 'different example')} of {report.kind}"),
        facts(
            [
                ("examples", f"{report.examples:,}"),
                (two[0], f"{report.queries:,} different, {_length(report.query_words)}"),
                (two[1], f"{report.passages:,} different, {_length(report.passage_words)}"),
                ("negatives", f"{report.negatives} of each" if report.negatives else ""),
                ("labels", labels),
            ]
        ),
        *(note(text) for text in (*report.notes, *report.warnings)),
    ]


def _length(words: "Words") -> str:
    return f"{words.mean:g} words on average, {words.longest:,} at most"


def _leaks(found: "Contamination") -> list[RenderableType]:
    from lockstep_indexer.train.data.contamination import TOLERANCE

    if not found.leaks:
        return [done("Nothing of the evaluation is in the training data")]
    made = table("what", "in the evaluation", "in training", "alike", right=("alike",))
    for one in found.leaks[:SHOWN_LEAKS]:
        alike = "same" if one.is_exact else f"{one.similarity:.2f}"
        made.add_row(one.what, _cut(one.text), _cut(one.train_text), alike)
    if found.is_clean:
        verdict = note(
            f"{found.summary()} That is little ({TOLERANCE:.0%} or less): training leaves out the "
            f"{plural(len(found.train_examples), 'example')} that do it."
        )
    else:
        verdict = Text.assemble(
            ("✗ ", "bold bad"),
            f"{found.summary()} Figures measured there would say nothing. Split the data by "
            "document, or evaluate on other queries.",
        )
    return [verdict, made]


def _cut(text: str) -> str:
    line = printable(text)
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS - 1]}…"


def add_to(pairs: typer.Typer) -> None:
    example = "lockstep pairs check pairs.jsonl --against my-beir-folder/"
    command(pairs, "check", example=example)(check)
