"""Does the candidate answer judged queries as well as the live version does?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.gates.queries import MIN_QUERIES, Judged
from lockstep.gates.searchers import Answer, Searcher
from lockstep.gates.statistics import Paired, Values, paired
from lockstep.index.gate_report import GateResult, Verdict
from lockstep.search.request import Mode
from lockstep.settings import GateSettings

QUALITY = "quality"
DEPTH = 10

Answers = Mapping[str, Answer]  # by query id


@dataclass(frozen=True)
class Judgement:
    """How two versions did on the same judged queries, in one mode."""

    judged: Judged
    mode: Mode
    candidate: Values  # nDCG@10 of each query, (n,)
    live: Values | None
    query_ids: Sequence[str]

    def paired(self) -> Paired | None:
        return None if self.live is None else paired(self.candidate, self.live)


def modes(judged: Judged) -> tuple[Mode, ...]:
    """What applications get, and the model's own share of it.

    A title finds its own document by BM25 alone, so known items only ask the model.
    """
    return (Mode.DENSE,) if judged.made_up else (Mode.HYBRID, Mode.DENSE)


def judge(
    judged: Judged, mode: Mode, candidate: Searcher, live: Searcher | None
) -> tuple[Judgement, Answers, Answers]:
    """Ask both versions every query; their figures and what they answered."""
    found = _ask(judged, mode, candidate)
    before = {} if live is None else _ask(judged, mode, live)
    ids = sorted(found)
    return (
        Judgement(
            judged,
            mode,
            _measured(judged, found, ids),
            None if live is None else _measured(judged, before, ids),
            ids,
        ),
        found,
        before,
    )


def quality_gate(
    judgement: Judgement, settings: GateSettings, *, require_better: bool
) -> GateResult:
    """Non-inferior: the interval of the difference lies above -margin; or, if asked, above zero.

    Known items are a makeshift: there, only a loss that is proven to exceed its margin fails.
    """
    name = f"{QUALITY} ({judgement.mode}, {judgement.judged.name})"
    if not judgement.query_ids:
        return GateResult(name, Verdict.SKIPPED, "no queries")
    mean = f"nDCG@{DEPTH} {judgement.candidate.mean():.3f}"
    compared = judgement.paired()
    if compared is None:
        figures = {"candidate": float(judgement.candidate.mean())}
        return GateResult(name, Verdict.SKIPPED, mean, detail="nothing to compare with yet",
                          measured=figures)  # fmt: skip
    figure = (
        f"{mean} against {compared.live:.3f}: {compared.difference:+.3f} "
        f"[{compared.low:+.3f}, {compared.high:+.3f}], p = {compared.p_value:.2g}, "
        f"{compared.queries:,} queries"
    )
    if judgement.judged.left_out:
        figure += f" ({judgement.judged.left_out:,} left out)"
    verdict, threshold, detail = _verdict(judgement.judged, compared, settings, require_better)
    measured = {**compared.to_json(), "margin": settings.margin}
    return GateResult(name, verdict, figure, threshold, detail, measured)


def _verdict(
    judged: Judged, compared: Paired, settings: GateSettings, require_better: bool
) -> tuple[Verdict, str, str]:
    if judged.made_up and require_better:
        detail = "only judged queries can show that it is better: lockstep qrels import"
        return Verdict.FAILED, "interval above 0, on judged queries", detail
    if judged.made_up:
        lost = not compared.high >= -settings.known_item_margin
        detail = "made from titles and first sentences; import judgments: lockstep qrels import"
        threshold = f"not worse by more than {settings.known_item_margin}"
        return Verdict.FAILED if lost else Verdict.PASSED, threshold, detail
    margin = 0.0 if require_better else settings.margin
    threshold = "interval above 0" if require_better else f"interval above -{margin}"
    if compared.queries < MIN_QUERIES:
        detail = f"at least {MIN_QUERIES} queries are needed to tell anything"
        return (Verdict.FAILED if require_better else Verdict.FLAGGED), threshold, detail
    if compared.low > 0 or (not require_better and compared.low >= -margin):
        return Verdict.PASSED, threshold, ""
    return Verdict.FAILED, threshold, _why_not(compared, margin)


def _why_not(compared: Paired, margin: float) -> str:
    if compared.high < -margin:
        return "it is worse"
    needed = compared.needed(margin)
    if needed is None:
        return "it is not better" if margin == 0 else "it is worse, as far as can be told"
    if needed <= compared.queries:
        return "too close to tell with these queries"
    return f"too few queries to tell: about {needed:,} are needed, {compared.queries:,} are there"


def _ask(judged: Judged, mode: Mode, searcher: Searcher) -> dict[str, Answer]:
    return {key: searcher.ask(text, mode, DEPTH) for key, text in judged.queries.items()}


def _measured(judged: Judged, answers: Answers, ids: Sequence[str]) -> Values:
    """nDCG@10 of each query, 0 where nothing relevant was found."""
    import ir_measures  # takes a while to load, and most processes never judge

    run = [
        ir_measures.ScoredDoc(query_id, document_id, float(-rank))
        for query_id, answer in answers.items()
        for rank, document_id in enumerate(answer.document_ids)
    ]
    qrels = [
        ir_measures.Qrel(query_id, document_id, relevance)
        for query_id in ids
        for document_id, relevance in judged.judgments[query_id].items()
    ]
    values = {
        m.query_id: m.value for m in ir_measures.iter_calc([ir_measures.nDCG @ DEPTH], qrels, run)
    }
    return np.array([values.get(query_id, 0.0) for query_id in ids])


def quality_gates(
    judgements: Sequence[Judgement], settings: GateSettings, *, require_better: bool
) -> Iterator[GateResult]:
    for judgement in judgements:
        yield quality_gate(judgement, settings, require_better=require_better)
