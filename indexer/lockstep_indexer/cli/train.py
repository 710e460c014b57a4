"""`lockstep train`: fine-tune a model on examples and register what comes of it."""

from typing import Annotated

import typer

from lockstep_indexer.cli.model import dims
from lockstep_indexer.cli.options import TRAINING, CorpusArgument, command
from lockstep_indexer.cli.session import Session
from lockstep_indexer.cli.training_options import (
    AgainstOption,
    AllowContaminationOption,
    BaseOption,
    BatchOption,
    BlendOption,
    DevOption,
    DevShareOption,
    DocumentPromptOption,
    EpochsOption,
    EvaluationsOption,
    GuideOption,
    KeepShareOption,
    KindOption,
    LoraOption,
    LossOption,
    MaxTokensOption,
    MixInOption,
    MixInShareOption,
    NameOption,
    PairsOption,
    PassagesOption,
    PatienceOption,
    PrecisionOption,
    QueriesOption,
    QueryPromptOption,
    RateOption,
    ReportToOption,
    RequireBetterOption,
    SeedOption,
    SplitOption,
    SweepOption,
    TeacherOption,
)
from lockstep_indexer.cli.training_result import trained_json, trained_rendered
from lockstep_indexer.train.settings import TrainingSettings

_DEFAULT = TrainingSettings()
_MIX_IN_SHARE = 0.2


def train(
    session: Session,
    corpus: CorpusArgument,
    pairs: PairsOption,
    name: NameOption,
    base: BaseOption = None,
    kind: KindOption = None,
    split: SplitOption = "train",
    queries: QueriesOption = None,
    dev: DevOption = None,
    dev_share: DevShareOption = 0.1,
    passages: PassagesOption = 1000,
    against: AgainstOption = None,
    allow_contamination: AllowContaminationOption = False,
    loss: LossOption = None,
    matryoshka_dims: Annotated[
        list | None,  # type: ignore[type-arg]  # Typer wants a plain class beside a parser
        typer.Option(
            parser=dims,
            metavar="N,N",
            help="Lengths at which vectors are to stand alone. By default halves down to 64.",
            show_default=False,
            rich_help_panel="How",
        ),
    ] = None,
    epochs: EpochsOption = _DEFAULT.epochs,
    batch_size: BatchOption = _DEFAULT.batch_size,
    learning_rate: RateOption = _DEFAULT.learning_rate,
    max_tokens: MaxTokensOption = _DEFAULT.max_tokens,
    precision: PrecisionOption = _DEFAULT.precision,
    lora: LoraOption = 0,
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
    evaluations: EvaluationsOption = _DEFAULT.evaluations,
    patience: PatienceOption = _DEFAULT.patience,
    sweep: SweepOption = 0,
    seed: SeedOption = _DEFAULT.seed,
    report_to: ReportToOption = None,
    mix_in: MixInOption = None,
    mix_in_share: MixInShareOption = None,
    keep_share: KeepShareOption = 0.0,
    blend: BlendOption = 1.0,
    teacher: TeacherOption = None,
    guide: GuideOption = None,
    require_better: RequireBetterOption = False,
) -> None:
    """Fine-tune a model, measure it, and register it.

    A share of the examples is held out, by document, and judges the base and the result. An
    interrupted training goes on where it stopped when the same command runs again.
    """
    from lockstep_indexer.train.progress import Listener
    from lockstep_indexer.train.training import train as run

    if mix_in_share is None:
        mix_in_share = _MIX_IN_SHARE if mix_in is not None and not keep_share else 0.0
    settings = TrainingSettings(
        loss=loss,
        matryoshka_dims=None if matryoshka_dims is None else tuple(matryoshka_dims),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_tokens=max_tokens,
        precision=precision,
        lora_rank=lora,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        mix_in_share=mix_in_share,
        keep_share=keep_share,
        blend=blend,
        evaluations=evaluations,
        patience=patience,
        seed=seed,
    )
    with session.workspace() as workspace, session.bars() as bars:
        workspace.corpora.info(corpus)  # a wrong name is said before anything is read
        bars.stage("reading the data")
        from lockstep_indexer.train.ordering import Wanted, order_of

        order = order_of(
            workspace,
            Wanted(
                corpus=corpus,
                name=name,
                pairs=tuple(pairs),
                base=base,
                kind=kind,
                split=split,
                queries=queries,
                dev=dev,
                dev_share=dev_share,
                passages=passages,
                against=tuple(against or ()),
                allow_contamination=allow_contamination,
                mix_in=mix_in,
                teacher=teacher,
                guide=guide,
                require_better=require_better,
                report_to=tuple(report_to or ()),
                sweep=sweep,
                settings=settings,
            ),
        )
        listener = Listener(stage=bars.stage, progress=bars.trained, note=bars.note)
        result = run(workspace, order, listener)
    session.show(trained_json(corpus, result), *trained_rendered(corpus, result))


def add_to(app: typer.Typer) -> None:
    example = "lockstep train docs --pairs pairs.jsonl --name ours"
    command(app, "train", panel=TRAINING, example=example)(train)
