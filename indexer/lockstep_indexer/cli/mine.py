"""`lockstep mine`: passages that look like answers to a query and are none."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType

from lockstep_indexer.cli.options import TRAINING, CorpusArgument, command
from lockstep_indexer.cli.pairs.written import OutputOption
from lockstep_indexer.cli.render import done, facts, next_step, note, plural
from lockstep_indexer.cli.session import Json, Session

if TYPE_CHECKING:
    from lockstep_indexer.train.negatives.mine import Mined
    from lockstep_indexer.train.negatives.settings import Mining, Source


def mine(
    session: Session,
    corpus: CorpusArgument,
    pairs: Annotated[
        list[Path],
        typer.Option(
            "--pairs",
            metavar="FILE",
            help="Queries and passages that answer them; a BEIR folder too. May be given again.",
            show_default=False,
        ),
    ],
    output: OutputOption,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="The model to be trained: name@version, name, or a path. By default the live "
            "version's.",
        ),
    ] = None,
    negatives: Annotated[int, typer.Option(metavar="N", help="For each pair.")] = 4,
    share: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=SHARE",
            help="How much of the negatives 'model' and 'bm25' propose: half each by default.",
            show_default=False,
        ),
    ] = None,
    skip: Annotated[int, typer.Option(metavar="N", help="First ranks to pass over.")] = 0,
    depth: Annotated[int, typer.Option(metavar="N", help="The last rank to look at.")] = 100,
    margin: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="How far a negative's similarity must lie under the answer's."
        ),
    ] = 0.05,
    reranker: Annotated[
        str | None,
        typer.Option(
            metavar="REF", help="A registered reranker that throws out what answers after all."
        ),
    ] = None,
    reranker_margin: Annotated[
        float, typer.Option(metavar="SHARE", help="As --margin, by the reranker's scores.")
    ] = 0.05,
    pick: Annotated[
        Literal["top", "random"],
        typer.Option(help="Take the first that are left, or any of them."),
    ] = "top",
    fill: Annotated[
        bool,
        typer.Option("--fill", help="Make up missing negatives at random; else the pair is out."),
    ] = False,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET",
            help="A BEIR folder, or the name of imported judged queries, whose answers are to be "
            "no negatives: what you evaluate by.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which pairs of a BEIR folder.")] = "train",
    held_out_split: Annotated[str, typer.Option(help="Which judgments to hold out.")] = "test",
    language: Annotated[str, typer.Option(help="Of BM25's words.")] = "english",
    seed: Annotated[int, typer.Option(metavar="N", help="Of what is drawn at random.")] = 7,
) -> None:
    """Find hard negatives for pairs, in a corpus.

    For each pair, passages that the model or BM25 ranks high for the query and that do not answer
    it. Known answers of a query, their duplicates and the other passages of their documents are
    never taken, and nothing that the model finds as similar as an answer. Changes no index.
    """
    from lockstep_indexer.train.data.documents import corpus_documents
    from lockstep_indexer.train.data.reading import read_training_data
    from lockstep_indexer.train.data.row_files import require_writable, write_rows
    from lockstep_indexer.train.negatives.held_out import judged_documents
    from lockstep_indexer.train.negatives.mine import Listener
    from lockstep_indexer.train.negatives.run import mine_corpus, rows_of
    from lockstep_indexer.train.negatives.settings import Mining

    mining = Mining(
        negatives=negatives,
        **({"shares": _shares(share)} if share else {}),
        skip=skip,
        depth=depth,
        margin=margin,
        reranker_margin=reranker_margin,
        pick=pick,
        fill=fill,
        language=language,
        seed=seed,
    )
    require_writable(output, apart_from=pairs)
    with session.workspace() as workspace, session.bars() as bars:
        bars.stage("reading pairs")
        documents = corpus_documents(workspace.corpora, corpus)  # raises CorpusNotFound
        data = read_training_data(pairs, split=split, documents=documents)
        mined = mine_corpus(
            workspace,
            corpus,
            data,
            mining,
            model=model,
            reranker=reranker,
            held_out=judged_documents(workspace, corpus, held_out or [], held_out_split),
            listener=Listener(stage=bars.stage, report=bars.counted),
        )
        write_rows(output, rows_of(mined.data), mined.data.lineage)
    session.show(_json(mined, output), *_rendered(mined, mining, corpus, output))


def _shares(given: list[str]) -> "dict[Source, float]":
    """Sources and shares as people write them: bm25=0.5."""
    from lockstep.errors import InvalidInput
    from lockstep_indexer.train.negatives.settings import Source

    shares: dict[Source, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            shares[Source(name.strip())] = float(number)
        except ValueError as error:
            raise InvalidInput(
                f"'{text}' is no share of a source; known: {', '.join(Source)}.",
                next_step="For example: --share model=0.7 --share bm25=0.3",
            ) from error
    return shares


def _json(mined: "Mined", output: Path) -> Json:
    counts = mined.counts
    return {
        "output": str(output),
        "fingerprint": mined.data.fingerprint,
        "pairs": counts.pairs,
        "left_out": counts.short,
        "queries": len(mined.queries),
        "answers_not_in_corpus": mined.queries.strangers,
        "judged_irrelevant": mined.queries.judged_irrelevant,
        "candidates": {
            "looked_at": counts.looked_at,
            "too_close": counts.too_close,
            "reranked_out": counts.reranked_out,
        },
        "negatives": {
            **{str(source): count for source, count in counts.taken.items()},
            "random": counts.filled,
        },
        "similarity": mined.similar.means(),
        "lineage": mined.data.lineage,
    }


def _rendered(mined: "Mined", mining: "Mining", corpus: str, output: Path) -> list[RenderableType]:
    counts, means = mined.counts, mined.similar.means()
    by_source = [f"{count:,} by {source}" for source, count in counts.taken.items()]
    by_source += [f"{counts.filled:,} at random"] if counts.filled else []
    parts: list[RenderableType] = [
        done(f"{output}: {plural(counts.pairs, 'pair')} with {mining.negatives} negatives each"),
        facts(
            [
                ("negatives", ", ".join(by_source)),
                (
                    "candidates",
                    f"{counts.looked_at:,} in ranks {mining.skip + 1} to {mining.depth}",
                ),
                ("too close", f"{counts.too_close:,} within {mining.margin:.0%} of the answer"),
                ("reranked out", f"{counts.reranked_out:,}" if counts.reranked_out else ""),
                (
                    "similarity",
                    f"answers {means['answers']:.2f}, negatives {means['negatives']:.2f}",
                ),
            ]
        ),
    ]
    if counts.short:
        parts.append(
            note(
                f"{plural(counts.short, 'pair')} left out: fewer than {mining.negatives} "
                "negatives kept the margin. --fill makes them up at random."
            )
        )
    if mined.queries.strangers:
        parts.append(
            note(
                f"{plural(mined.queries.strangers, 'answer')} not in '{corpus}': only their "
                "similarity keeps passages like them out."
            )
        )
    if unread := (mined.data.lineage["index"] or {}).get("unread"):
        parts.append(note(f"What could not be read from the index was encoded: {unread}"))
    return [*parts, next_step(f"lockstep train {corpus} --pairs {output} --name NAME", "Train")]


def add_to(app: typer.Typer) -> None:
    example = "lockstep mine docs --pairs pairs.jsonl --model minilm@1 --output negatives.jsonl"
    command(app, "mine", panel=TRAINING, example=example)(mine)
