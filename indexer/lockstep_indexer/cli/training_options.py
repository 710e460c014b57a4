"""The options of `lockstep train`: what to train on, how, and against forgetting."""

from pathlib import Path
from typing import Annotated

import typer

from lockstep_indexer.train.data.examples import Kind
from lockstep_indexer.train.settings import Loss, Precision

_DATA = "What it is trained on"
_HOW = "How"
_FORGETTING = "Against forgetting"
_DISTILLING = "Learning from another model"

PairsOption = Annotated[
    list[Path],
    typer.Option(
        "--pairs",
        metavar="FILE",
        help="Examples: jsonl, csv, parquet, or a BEIR folder. May be given several times.",
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
NameOption = Annotated[
    str,
    typer.Option(
        "--name", metavar="NAME", help="What to call the trained model.", show_default=False
    ),
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="REF|PATH|HUB_ID",
        help="The model to start from. By default the one that the live version was built by.",
        show_default=False,
    ),
]
KindOption = Annotated[
    Kind | None,
    typer.Option(
        help="Of the examples. By default what their columns say.",
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
SplitOption = Annotated[
    str, typer.Option(help="Which judgments of a BEIR folder.", rich_help_panel=_DATA)
]
QueriesOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The queries of a qrels file.", rich_help_panel=_DATA),
]
DevOption = Annotated[
    Path | None,
    typer.Option(
        "--dev",
        metavar="FILE",
        help="Examples to measure by. By default a share is held out, by document.",
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
DevShareOption = Annotated[
    float, typer.Option(min=0, max=0.5, help="How much is held out.", rich_help_panel=_DATA)
]
AgainstOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--against",
        metavar="PATH",
        help="A BEIR folder that is evaluated by later, so that none of it is trained on. The "
        "corpus's own judged queries always are checked against.",
        show_default=False,
        rich_help_panel=_DATA,
    ),
]
AllowContaminationOption = Annotated[
    bool,
    typer.Option(
        "--allow-contamination",
        help="Train although evaluation data is among the examples.",
        rich_help_panel=_DATA,
    ),
]
PassagesOption = Annotated[
    int,
    typer.Option(
        min=10, metavar="N", help="Passages that held-out queries search.", rich_help_panel=_DATA
    ),
]
LossOption = Annotated[
    Loss | None,
    typer.Option(
        help="By default what suits the examples: ranking, or cosent for scores.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
EpochsOption = Annotated[
    float, typer.Option(help="Times through the examples.", rich_help_panel=_HOW)
]
BatchOption = Annotated[
    int, typer.Option("--batch-size", metavar="N", help="Examples a step.", rich_help_panel=_HOW)
]
RateOption = Annotated[
    float, typer.Option("--learning-rate", metavar="X", rich_help_panel=_HOW, help="The highest.")
]
MaxTokensOption = Annotated[
    int,
    typer.Option(metavar="N", help="Tokens of a text that are trained on.", rich_help_panel=_HOW),
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="auto: what the processor is fast in.", rich_help_panel=_HOW)
]
LoraOption = Annotated[
    int,
    typer.Option(
        "--lora", min=0, metavar="RANK", help="Train adapters of this rank.", rich_help_panel=_HOW
    ),
]
QueryPromptOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Before every query. By default the base's.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
DocumentPromptOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Before every passage. By default the base's.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
PatienceOption = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Evaluations without a gain to stop at.", rich_help_panel=_HOW
    ),
]
EvaluationsOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="While it trains.", rich_help_panel=_HOW)
]
SweepOption = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="Try this many rates, epochs and batch sizes first.",
        rich_help_panel=_HOW,
    ),
]
SeedOption = Annotated[int, typer.Option(metavar="N", rich_help_panel=_HOW, help="Of all chance.")]
ReportToOption = Annotated[
    list[str] | None,
    typer.Option(
        "--report-to",
        metavar="NAME",
        help="tensorboard, mlflow, or another that transformers knows.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
MixInOption = Annotated[
    Path | None,
    typer.Option(
        "--mix-in",
        metavar="FILE",
        help="General examples, for the shares below.",
        show_default=False,
        rich_help_panel=_FORGETTING,
    ),
]
MixInShareOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=0.9,
        metavar="X",
        help="Train on general examples too; .2 where there is a --mix-in.",
        show_default=False,
        rich_help_panel=_FORGETTING,
    ),
]
KeepShareOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=0.9,
        metavar="X",
        help="Let general texts keep the base's vectors.",
        rich_help_panel=_FORGETTING,
    ),
]
BlendOption = Annotated[
    float,
    typer.Option(
        min=0.01,
        max=1,
        metavar="X",
        help="The trained weights' share in a mean with the base's.",
        rich_help_panel=_FORGETTING,
    ),
]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        metavar="REF|live",
        help="For margin-mse and distill: an encoder, a reranker, or the live model.",
        show_default=False,
        rich_help_panel=_DISTILLING,
    ),
]
GuideOption = Annotated[
    str | None,
    typer.Option(
        metavar="REF",
        help="For gist: tells answers from negatives.",
        show_default=False,
        rich_help_panel=_DISTILLING,
    ),
]
RequireBetterOption = Annotated[
    bool,
    typer.Option("--require-better", help="Register it only if it is better than its base."),
]
