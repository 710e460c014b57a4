"""Compiles models for encoding queries on a CPU, and uses what agrees with torch, nothing else."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from lockstep.errors import EncodingFailed
from lockstep.models import openvino_form
from lockstep.models.agreement import (
    MAX_MEASURED_TOKENS,
    Agreement,
    Form,
    Sample,
    a_few,
    all_lengths,
    measure,
    milliseconds,
)
from lockstep.models.compilation_report import CompilationReport
from lockstep.models.compiled_files import Compiled, CompiledFiles
from lockstep.models.loading import load_cross_encoder, load_model
from lockstep.models.manifest import Json, ModelKind, ModelManifest
from lockstep.models.openvino_form import OpenVinoForm
from lockstep.models.pair_form import pair_form
from lockstep.models.torch_form import TorchForm, torch_form
from lockstep.models.tracing import NotTraceable, traced
from lockstep.models.vectors import lower_bound

logger = logging.getLogger(__name__)

# Raise it when a model would be traced or padded in another way than before.
_FORMAT = 1
_MODEL_FILE = "model.xml"


@dataclass(frozen=True)
class QueryForm:
    """What encodes queries, and how that was decided."""

    form: Form
    report: CompilationReport

    @property
    def name(self) -> str:
        return self.report.encoder


class QueryCompiler:
    """Compiles model versions, and finds what it has compiled before."""

    def __init__(self, files: CompiledFiles) -> None:
        self._files = files

    def register(self, folder: Path, manifest: ModelManifest) -> CompilationReport:
        """Compile a model that is being added, for later use."""
        form = _torch_form(folder, manifest)
        if form is None:
            return CompilationReport(reason="it is not a model of plain text tokens")
        return self.load(manifest.digest, form).report

    def load(self, digest: str, form: TorchForm) -> QueryForm:
        """A loaded model's compiled form, made again if need be; torch if it does not agree."""
        if not openvino_form.is_installed():
            return QueryForm(form, CompilationReport(reason="OpenVINO is not installed"))
        stored = self._files.find(digest, _made_by())
        report = None if stored is None else _read(stored.report)
        loaded = None if stored is None or report is None else _loaded(stored, report, form)
        return loaded or self._make(digest, form)

    def _make(self, digest: str, form: TorchForm) -> QueryForm:
        try:
            model = traced(form)
        except NotTraceable as error:
            report = _report(reason=f"it cannot be traced: {error}")
            self._files.keep(digest, _made_by(), report.to_json(), lambda folder: None)
            return QueryForm(form, report)
        made = _measured(model, form)
        self._files.keep(
            digest,
            _made_by(),
            made.report.to_json(),
            lambda folder: openvino_form.save(model, folder / _MODEL_FILE),
        )
        return made


def _torch_form(folder: Path, manifest: ModelManifest) -> TorchForm | None:
    if manifest.kind is ModelKind.RERANKER:
        reranker = load_cross_encoder(folder, device="cpu")
        reranker.max_seq_length = manifest.max_tokens
        return pair_form(reranker)
    model = load_model(folder, device="cpu")
    model.max_seq_length = manifest.max_tokens
    return torch_form(model, manifest.query_prompt)


def _measured(model: Any, form: TorchForm) -> QueryForm:
    """Compare each precision that this processor has with torch; use the first that agrees."""
    sample = _within_limit(Sample.of(form, all_lengths(_limit(form))), MAX_MEASURED_TOKENS)
    longest = max(len(query.ids) for query in sample.queries)
    agreements: dict[str, Agreement] = {}
    chosen: OpenVinoForm | None = None
    for precision in openvino_form.precisions():
        compiled, agreements[precision] = _compiled(model, precision, form, sample, longest)
        if chosen is None and agreements[precision].holds:
            chosen = compiled
    report = _report(
        agreements=agreements,
        texts=len(sample.queries),
        max_tokens=longest,
        torch_ms=milliseconds(form),
    )
    if chosen is None:
        return QueryForm(form, replace(report, reason=_disagreement(agreements)))
    chosen.compile_lone_lengths(model)
    return QueryForm(
        chosen, replace(report, precision=chosen.precision, query_ms=milliseconds(chosen))
    )


def _read(fields: Json) -> CompilationReport | None:
    try:
        report = CompilationReport.from_json(fields)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return report if report.precision or report.reason else None


def _loaded(stored: Compiled, report: CompilationReport, form: TorchForm) -> QueryForm | None:
    """What was compiled before, if it agrees here as well; None where it has to be made again."""
    known = [name for name, agreement in report.agreements.items() if agreement.holds]
    if not known:
        return QueryForm(form, report)
    source = stored.folder / _MODEL_FILE
    if not source.is_file():
        return None
    sample = _within_limit(Sample.of(form, a_few()), report.max_tokens)
    for precision in openvino_form.precisions():
        if precision in known:
            compiled, here = _compiled(source, precision, form, sample, report.max_tokens)
            if compiled is not None and here.holds:
                worst = report.agreements[precision].worst(here)
                agreements = {**report.agreements, precision: worst}
                report = replace(report, precision=precision, agreements=agreements)
                compiled.compile_lone_lengths(source)
                return QueryForm(compiled, report)
    reason = f"what was compiled on {report.processor} does not agree on this processor"
    logger.warning("torch encodes the queries: %s", reason)
    return QueryForm(form, replace(report, precision="", reason=reason))


def _compiled(
    source: Any, precision: str, form: TorchForm, sample: Sample, max_tokens: int
) -> tuple[OpenVinoForm | None, Agreement]:
    try:
        compiled = OpenVinoForm(source, precision, form.tokens, max_tokens)
        return compiled, measure(compiled, sample, max_tokens)
    except (RuntimeError, EncodingFailed) as error:
        logger.warning("a model cannot be compiled in %s: %s", precision, error)
        return None, Agreement(-1.0, stable=False)


def _within_limit(sample: Sample, most: int) -> Sample:
    fits = [row for row, query in enumerate(sample.queries) if len(query.ids) <= most]
    return Sample([sample.queries[row] for row in fits], sample.expected[fits])


def _limit(form: TorchForm) -> int:
    return int(form.model.max_seq_length or MAX_MEASURED_TOKENS)


def _disagreement(agreements: Mapping[str, Agreement]) -> str:
    found = ", ".join(
        f"{lower_bound(each.cosine, digits=6)} in {name}" for name, each in agreements.items()
    )
    return f"its lowest cosine with torch is {found}; expected 0.9999 or more"


def _made_by() -> str:
    return f"openvino-{package_version('openvino')}-{_FORMAT}"


def _report(**fields: Any) -> CompilationReport:
    engine = f"OpenVINO {package_version('openvino')}"
    return CompilationReport(engine=engine, processor=openvino_form.processor(), **fields)
