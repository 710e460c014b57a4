"""From what a user names to an order: files are read, refs resolved."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lockstep.bootstrap import Workspace
from lockstep.errors import InvalidSetting, NoLiveIndex
from lockstep.index.versions import State
from lockstep.models.registry import ModelVersion, check_name
from lockstep_indexer.build.model_refs import resolve_or_add
from lockstep_indexer.train.data.contamination import HeldOut
from lockstep_indexer.train.data.documents import CorpusDocuments, corpus_documents
from lockstep_indexer.train.data.examples import Kind, TrainingData
from lockstep_indexer.train.data.reading import read_training_data
from lockstep_indexer.train.order import Order
from lockstep_indexer.train.settings import TrainingSettings

LIVE = "live"


@dataclass(frozen=True)
class Wanted:
    """A training as a command line names it."""

    corpus: str
    name: str
    pairs: tuple[Path, ...]
    settings: TrainingSettings
    base: str | None = None
    kind: Kind | None = None
    split: str = "train"
    queries: Path | None = None
    dev: Path | None = None
    dev_share: float = 0.1
    passages: int = 1000
    against: tuple[Path, ...] = ()
    allow_contamination: bool = False
    mix_in: Path | None = None
    teacher: str | None = None
    guide: str | None = None
    require_better: bool = False
    report_to: tuple[str, ...] = ()
    sweep: int = 0


def order_of(workspace: Workspace, wanted: Wanted) -> Order:
    """Raises InvalidInput naming file and line, ModelNotFound, NoLiveIndex, or InvalidSetting."""
    check_name(wanted.name)  # now, and not after hours of training
    _check_reports(wanted.report_to)
    data = _read(workspace, wanted, wanted.pairs)
    dev = _read(workspace, wanted, (wanted.dev,), split="dev") if wanted.dev else None
    general = read_training_data([wanted.mix_in]) if wanted.mix_in else None
    base = _model(workspace, wanted.corpus, wanted.base or LIVE, "--base REF")
    return Order(
        corpus=wanted.corpus,
        name=wanted.name,
        data=data,
        base=base,
        settings=wanted.settings,
        dev=dev,
        dev_share=wanted.dev_share,
        general=general,
        teacher=_model(workspace, wanted.corpus, wanted.teacher, "--teacher REF")
        if wanted.teacher
        else None,
        guide=_model(workspace, wanted.corpus, wanted.guide, "--guide REF")
        if wanted.guide
        else None,
        against=_against(workspace, wanted, dev),
        allow_contamination=wanted.allow_contamination,
        require_better=wanted.require_better,
        passages=wanted.passages,
        report_to=wanted.report_to,
        sweep=wanted.sweep,
    )


def _read(
    workspace: Workspace, wanted: Wanted, paths: tuple[Path, ...], *, split: str | None = None
) -> TrainingData:
    return read_training_data(
        paths,
        kind=wanted.kind,
        split=split or wanted.split,
        queries=wanted.queries,
        documents=None
        if all(_has_documents(path) for path in paths)
        else corpus_documents(workspace.corpora, wanted.corpus),
    )


def _has_documents(path: Path) -> bool:
    """Whether it is a BEIR folder, which brings its documents along."""
    return path.is_dir() and any(path.glob("corpus.*"))


def _model(workspace: Workspace, corpus: str, ref: str, option: str) -> ModelVersion:
    if ref != LIVE:
        return resolve_or_add(workspace, ref)
    live = next(iter(workspace.catalog.in_state(corpus, State.LIVE)), None)
    if live is None:
        raise NoLiveIndex(
            f"'{corpus}' has no live version whose model could be taken.",
            next_step=f"Name a model: {option}",
        )
    return workspace.models.get(live.model_name, live.model_version)


def _against(
    workspace: Workspace, wanted: Wanted, dev: TrainingData | None
) -> Mapping[str, HeldOut]:
    """All that later says how good the model is: it must not be trained on."""
    documents = corpus_documents(workspace.corpora, wanted.corpus)
    found: dict[str, HeldOut] = {}
    for info in workspace.query_sets.list(wanted.corpus):
        query_set = workspace.query_sets.get(wanted.corpus, info.name)
        found[info.name] = HeldOut.of_query_set(query_set, documents)
    for path in wanted.against:
        found[str(path)] = _held_out(path, documents)
    if dev is not None:
        found["--dev"] = HeldOut.of(dev)
    return found


def _held_out(path: Path, documents: CorpusDocuments) -> HeldOut:
    """A BEIR folder's test split, else the examples of a file; `documents` are the corpus's."""
    split = "test" if path.is_dir() else "train"
    looked_up = documents if path.is_dir() and not _has_documents(path) else None
    return HeldOut.of(read_training_data([path], split=split, documents=looked_up))


def _check_reports(names: tuple[str, ...]) -> None:
    from transformers.integrations import integration_utils

    known = sorted(integration_utils.INTEGRATION_TO_CALLBACK)
    for name in names:
        if name not in known:
            raise InvalidSetting(
                f"'{name}' cannot be reported to; expected one of {', '.join(known)}."
            )
        if find_spec(name) is None:
            raise InvalidSetting(
                f"Reporting to {name} needs its package, which is not installed.",
                next_step=f"Install it: pip install {name}",
            )
