"""`lockstep evaluate`: models side by side, on judged queries."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockstep_indexer.cli.build_options import PrefilterOption
from lockstep_indexer.cli.errors import FAILED
from lockstep_indexer.cli.options import TRAINING, command
from lockstep_indexer.cli.session import Session

if TYPE_CHECKING:
    from lockstep.bootstrap import Workspace
    from lockstep.corpus.query_sets import QuerySet
    from lockstep_indexer.evaluate.measures import Measure

_PANEL = "What is asked"
_OUTPUT = "What is kept"


def evaluate(
    session: Session,
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS", help="The name of a corpus, or a BEIR folder.", show_default=False
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="REF",
            help="name@version, name (the newest), a folder or a hub id. May be repeated: the "
            "others are compared with the first.",
            show_default=False,
        ),
    ],
    qrels: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|NAME",
            help="Judged queries: imported ones by name, a BEIR folder, or a qrels file with "
            "--queries. By default the newest imported, or the folder's own.",
            show_default=False,
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The queries of a qrels file.", rich_help_panel=_PANEL),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which judgments of a BEIR folder.", rich_help_panel=_PANEL)
    ] = "test",
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            metavar="NAME@K",
            help="nDCG, MRR, MAP, Recall, Precision or F1 of the first K. May be repeated; models "
            "are compared by the first.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    dim: Annotated[
        list[int] | None,
        typer.Option(
            "--dim",
            min=1,
            metavar="N",
            help="Dimensions to cut vectors to. May be repeated. By default all Matryoshka "
            "dimensions of the models, or 64.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            metavar="REF", help="Also ask for hits reranked by this.", rich_help_panel=_PANEL
        ),
    ] = None,
    rerank_candidates: Annotated[
        int, typer.Option(min=1, metavar="N", help="Hits to rerank.", rich_help_panel=_PANEL)
    ] = 50,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--prefilter-candidates",
            min=1,
            metavar="N",
            help="Short vectors to rescore. By default as many as a search rescores.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    slice_by: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="FIELD",
            help="Also by the values of a metadata field of the relevant documents. May be "
            "repeated.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    guard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A general BEIR folder, on which no model may be worse than the first.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    guard_split: Annotated[
        str, typer.Option(help="Which judgments of it.", rich_help_panel=_PANEL)
    ] = "test",
    guard_margin: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="How much may be lost there.", rich_help_panel=_PANEL),
    ] = 0.01,
    prefilter_dim: PrefilterOption = None,
    window_tokens: Annotated[
        int | None,
        typer.Option(
            min=8,
            metavar="N",
            help="Tokens per passage, at most. By default as in the live version, else all that "
            "a model can see.",
            show_default=False,
            rich_help_panel="How it is built",
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="Of the BM25 stemmer. By default that of the live version, else english.",
            show_default=False,
            rich_help_panel="How it is built",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An HTML report with plots, in one file.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    save_runs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="What was found, and the judgments, as trec_eval reads them.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
) -> None:
    """Measure models on judged queries, side by side.

    BM25, dense at each Matryoshka dimension, prefilter with rescoring, and hybrid, on the path that
    searches take. An index version that is there is used; else a temporary index is built, and
    nothing is left of it. Nothing is registered. Exit code 1 when the guard's collection shows a
    proven loss.
    """
    from lockstep_indexer.build.reindex import Listener
    from lockstep_indexer.cli.evaluation import rendered
    from lockstep_indexer.cli.render import note
    from lockstep_indexer.evaluate.evaluating import evaluate as measured
    from lockstep_indexer.evaluate.keeping import kept, require_room
    from lockstep_indexer.evaluate.options import Guarding, Options

    options = Options(
        measures=_measures(measure),
        dims=None if dim is None else tuple(dim),
        prefilter_dim=prefilter_dim,
        candidates=candidates,
        rerank=rerank,
        rerank_candidates=rerank_candidates,
        slices=tuple(slice_by or ()),
        guard=Guarding(guard, guard_split, guard_margin) if guard else None,
        window_tokens=window_tokens,
        language=language,
    )
    require_room(report, save_runs)
    with session.workspace() as workspace, session.bars() as bars:
        searched = _corpus(workspace, corpus)
        judged = _judged(workspace, searched, qrels, queries, split)
        listener = Listener(stage=bars.stage, progress=bars.applied)
        found = measured(workspace, searched, judged, model, options, listener=listener)
        bars.stage("writing")
        written, failed = kept(found, report, save_runs)
    session.show(
        {**found.to_json(), "written": [str(path) for path in written], "not_written": failed},
        *rendered(found, written, sliced=bool(slice_by)),
        *map(note, failed),
    )
    if failed or (found.guard is not None and found.guard.failed):
        raise typer.Exit(FAILED)


def _measures(given: list[str] | None) -> tuple["Measure", ...]:
    from lockstep_indexer.evaluate.measures import SHOWN, Measure

    return tuple(dict.fromkeys(map(Measure.parse, given))) if given else SHOWN


def _corpus(workspace: "Workspace", text: str) -> str | Path:
    """A corpus of the workspace goes before a folder of the same name."""
    if not workspace.corpora.exists(text) and Path(text).is_dir():
        return Path(text)
    return text


def _judged(
    workspace: "Workspace",
    corpus: str | Path,
    qrels: str | None,
    queries: Path | None,
    split: str,
) -> "QuerySet":
    """Imported judgments go before a path of the same name. Raises InvalidInput and NotFound."""
    from lockstep.corpus.qrels import read_query_set
    from lockstep_indexer.train.negatives.held_out import judged_queries

    if isinstance(corpus, Path):
        return read_query_set(Path(qrels) if qrels else corpus, queries=queries, split=split)
    workspace.corpora.info(corpus)  # raises CorpusNotFound
    if queries is not None:
        if qrels is None:
            raise typer.BadParameter("--queries goes with a qrels file: --qrels FILE.")
        return read_query_set(Path(qrels), queries=queries, split=split)
    if qrels is not None:
        return judged_queries(workspace, corpus, qrels, split)
    return workspace.query_sets.get(corpus)


def add_to(app: typer.Typer) -> None:
    example = "lockstep evaluate docs --qrels judged/ --model base --model ours --report ours.html"
    command(app, "evaluate", panel=TRAINING, example=example)(evaluate)
