"""Should you fine-tune? The rules, and the verdict that they come to."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lockstep.gates.queries import MIN_QUERIES
from lockstep_indexer.advise.rules import Advice, Leaning, Rule, applied
from lockstep_indexer.advise.situation import Baseline, Pairs, Reindex, Situation
from lockstep_indexer.evaluate.judging import CEILING, TOO_SMALL

# Pairs: fewer than FEW rarely help, from SOME on a gain is likely, from MANY on most of it is had.
FEW, SOME, MANY = 500, 1_000, 5_000
# Differences of nDCG@10 that are more than the luck of the draw in sets of usual size.
AHEAD = 0.02
# Longer than this, a re-index is something to plan for.
LONG_REINDEX_S = 6 * 3600.0
# With more passages than this to a document, how documents are cut decides much.
MANY_WINDOWS = 3.0

_RECORD = (
    "In our own runs a base of .769 rose to .959 with 13,675 pairs (medical questions made by "
    "templates), and one of .788 to .824 with 6,641 (questions on Wikipedia)."
)


class Verdict(StrEnum):
    """The answer."""

    NO = "no"
    UNKNOWN = "cannot tell yet"
    FIRST = "not yet"
    YES = "yes"


@dataclass(frozen=True)
class Answer:
    """A verdict, the command that follows from it, and all that was found."""

    verdict: Verdict
    next_step: str
    advice: Sequence[Advice]


def should_fine_tune(situation: Situation) -> Answer:
    """The first finding of the weightiest leaning decides; nothing for it means: not yet."""
    advice = applied(RULES, situation)
    for leaning, verdict in (
        (Leaning.AGAINST, Verdict.NO),
        (Leaning.UNKNOWN, Verdict.UNKNOWN),
        (Leaning.FIRST, Verdict.FIRST),
        (Leaning.FOR, Verdict.YES),
    ):
        deciding = next((one for one in advice if one.leaning is leaning), None)
        if deciding is not None:
            step = _train(situation) if verdict is Verdict.YES else deciding.next_step
            return Answer(verdict, step, advice)
    return Answer(Verdict.UNKNOWN, _evaluate(situation), advice)


def _with(
    holds: Callable[[Situation, Baseline], bool],
) -> Callable[[Situation], bool]:
    return lambda s: s.baseline is not None and holds(s, s.baseline)


def _base(text: Callable[[Situation, Baseline], str]) -> Callable[[Situation], str]:
    return lambda s: text(s, s.baseline) if s.baseline is not None else ""


def _pairs(holds: Callable[[Pairs], bool]) -> Callable[[Situation], bool]:
    return lambda s: s.pairs is not None and holds(s.pairs)


def _count(s: Situation) -> int:
    return s.pairs.distinct if s.pairs else 0


def _reindex(holds: Callable[[Reindex], bool]) -> Callable[[Situation], bool]:
    return lambda s: s.reindex is not None and holds(s.reindex)


def _why(text: str) -> Callable[[Situation], str]:
    return lambda s: text


def _train(s: Situation) -> str:
    files = [f"--pairs {shlex.quote(file)}" for file in s.pair_files] or ["--pairs FILE"]
    return f"lockstep train {s.corpus} {' '.join(files)} --base {s.model or 'REF'} --name NAME"


def _evaluate(s: Situation) -> str:
    return f"lockstep evaluate {s.corpus} --model {s.model or 'REF'}"


def _get_pairs(s: Situation) -> str:
    return f"lockstep pairs questions {s.corpus} --output questions.jsonl"


def _gap(s: Situation) -> float:
    return s.gap if s.gap is not None else 0.0


def _reachable(s: Situation) -> bool:
    return _count(s) >= SOME


RULES: tuple[Rule[Situation], ...] = (
    # What cannot be known
    Rule(
        "no-model",
        Leaning.UNKNOWN,
        lambda s: s.model is None,
        lambda s: f"'{s.corpus}' has no live index version, and no model was named.",
        _why("Whether tuning pays depends on how good search is without it."),
        lambda s: f"lockstep advise {s.corpus} --model REF",
    ),
    Rule(
        "no-judgments",
        Leaning.UNKNOWN,
        lambda s: s.model is not None and s.baseline is None,
        lambda s: f"'{s.corpus}' has no judged queries: how good search is now is not known.",
        _why(
            "Without them nobody can say whether tuning is needed, nor afterwards whether it "
            "helped. Fifty queries with the documents that answer them are a beginning."
        ),
        lambda s: f"lockstep qrels import {s.corpus} PATH",
    ),
    Rule(
        "few-queries",
        Leaning.NOTE,
        _with(lambda s, b: b.queries < 3 * MIN_QUERIES),
        _base(lambda s, b: f"{b.queries:,} judged queries: {b.dense:.3f} ± {b.uncertain:.3f}."),
        _why("With so few, gains of a few points cannot be told from luck."),
        lambda s: f"lockstep qrels import {s.corpus} --from-clicks",
    ),
    # The target
    Rule(
        "target-met",
        Leaning.AGAINST,
        _with(lambda s, b: s.gap is not None and s.gap <= 0),
        _base(lambda s, b: f"nDCG@10 is {b.best:.3f}, the target {s.target:.3f}."),
        _why("What was wanted is there. Every tuned version costs a re-index."),
        _evaluate,
    ),
    Rule(
        "target-near",
        Leaning.NOTE,
        _with(lambda s, b: s.gap is not None and 0 < s.gap < TOO_SMALL),
        _base(lambda s, b: f"{_gap(s):.3f} short of the target: {b.best:.3f} of {s.target:.3f}."),
        _why("A reranker often brings as much, and needs no training and no re-index."),
        lambda s: f"{_evaluate(s)} --rerank REF",
    ),
    Rule(
        "target-far",
        Leaning.FOR,
        _with(lambda s, b: s.gap is not None and s.gap >= TOO_SMALL),
        _base(lambda s, b: f"{_gap(s):.3f} short of the target: {b.best:.3f} of {s.target:.3f}."),
        _why("Settings seldom bring so much; tuning does where pairs are like queries."),
        _train,
    ),
    # What to train with
    Rule(
        "no-pairs",
        Leaning.FIRST,
        lambda s: s.pairs is None,
        _why("No pairs were given to train with."),
        _why(
            "A query and a passage that answers it: from clicks (lockstep pairs clicks), from the "
            "documents' own structure (lockstep pairs structure), or written by a language model."
        ),
        _get_pairs,
    ),
    Rule(
        "leaking-pairs",
        Leaning.FIRST,
        _pairs(lambda p: p.leaks_are_many),
        lambda s: f"{s.pairs.leaked or 0:,} judged queries are among the pairs." if s.pairs else "",
        _why("What was trained on cannot be tested by: the gain would be memory."),
        lambda s: (
            "Take them out, or judge others. They are shown by: lockstep pairs check "
            f"{shlex.join(s.pair_files) or 'FILE'} --against JUDGED"
        ),
    ),
    Rule(
        "few-pairs",
        Leaning.FIRST,
        _pairs(lambda p: p.distinct < FEW),
        lambda s: f"{_count(s):,} distinct pairs, of at least {FEW:,}.",
        _why(
            f"So few teach noise as well as sense. {SOME:,} usually show a gain, {MANY:,} most of "
            "what there is to gain."
        ),
        _get_pairs,
    ),
    Rule(
        "some-pairs",
        Leaning.NOTE,
        _pairs(lambda p: FEW <= p.distinct < SOME),
        lambda s: f"{_count(s):,} distinct pairs: a small gain at best; {SOME:,} would be better.",
        _why("Keep a part of them out to see whether it is one at all, and train for one epoch."),
        _get_pairs,
    ),
    Rule(
        "enough-pairs",
        Leaning.FOR,
        _pairs(lambda p: SOME <= p.distinct < MANY),
        lambda s: f"{_count(s):,} distinct pairs; from {SOME:,} on a gain is likely.",
        _why(f"Up to {MANY:,} more pairs bring more than better settings do."),
        _train,
    ),
    Rule(
        "many-pairs",
        Leaning.FOR,
        _pairs(lambda p: p.distinct >= MANY),
        lambda s: f"{_count(s):,} distinct pairs, more than {MANY:,}.",
        _why("Enough for most of the gain. Hard negatives may bring some more: lockstep mine."),
        _train,
    ),
    # How good search is
    Rule(
        "low-baseline",
        Leaning.FOR,
        _with(lambda s, b: b.best < CEILING),
        _base(lambda s, b: f"nDCG@10 is {b.best:.3f} at best: there is room below {CEILING:.2f}."),
        _why("The model does not know what your users mean by their words."),
        _train,
    ),
    Rule(
        "high-ceiling",
        Leaning.FIRST,
        _with(lambda s, b: b.best >= CEILING and not _reachable(s)),
        _base(lambda s, b: f"nDCG@10 is {b.best:.3f} already, above {CEILING:.2f}."),
        _why(
            "From here on how documents are cut, hybrid search and a reranker usually bring more "
            f"than tuning on so few pairs, and cost less. It is no law: {_RECORD}"
        ),
        lambda s: f"{_evaluate(s)} --rerank REF",
    ),
    Rule(
        "high-ceiling-many-pairs",
        Leaning.NOTE,
        _with(lambda s, b: b.best >= CEILING and _reachable(s)),
        _base(lambda s, b: f"nDCG@10 is {b.best:.3f} already, above {CEILING:.2f}."),
        _why(
            "The usual advice is to look at cutting, hybrid search and a reranker first. With so "
            f"many pairs a try is cheap, and the usual advice is sometimes wrong. {_RECORD}"
        ),
        lambda s: f"{_evaluate(s)} --rerank REF",
    ),
    Rule(
        "words-beat-the-model",
        Leaning.FOR,
        _with(lambda s, b: b.bm25 > b.dense + AHEAD),
        _base(lambda s, b: f"BM25 alone gets {b.bm25:.3f}, the model {b.dense:.3f}."),
        _why("Plain words find more than the model: it does not speak the language of the domain."),
        _train,
    ),
    Rule(
        "hybrid-ahead",
        Leaning.NOTE,
        _with(lambda s, b: b.hybrid > b.dense + AHEAD),
        _base(lambda s, b: f"Hybrid search gets {b.hybrid:.3f}, the model alone {b.dense:.3f}."),
        _why(
            "It is the default of searches. A gain of the model alone shrinks in it: compare both."
        ),
    ),
    Rule(
        "hybrid-behind",
        Leaning.NOTE,
        _with(lambda s, b: b.dense > b.hybrid + AHEAD),
        _base(lambda s, b: f"The model alone gets {b.dense:.3f}, hybrid search {b.hybrid:.3f}."),
        _why("BM25 pulls it down here; the weights of the fusion are a setting of each search."),
        lambda s: f"lockstep search {s.corpus} QUERY --mode dense",
    ),
    Rule(
        "long-documents",
        Leaning.NOTE,
        _reindex(lambda r: r.passages_per_document > MANY_WINDOWS),
        lambda s: (
            f"{s.reindex.passages_per_document:.1f} passages to a document, of at most "
            f"{s.reindex.window_tokens} tokens."
            if s.reindex
            else ""
        ),
        _why("Where documents are cut so often, other windows may bring as much as tuning."),
        lambda s: f"{_evaluate(s)} --window-tokens 128",
    ),
    # What it costs
    Rule(
        "reindex-refused",
        Leaning.FIRST,
        _reindex(lambda r: bool(r.refused)),
        lambda s: s.reindex.refused if s.reindex else "",
        _why("A tuned model is of no use before the corpus is encoded with it."),
        lambda s: f"lockstep plan {s.corpus} --model {s.model}",
    ),
    Rule(
        "long-reindex",
        Leaning.NOTE,
        _reindex(lambda r: r.seconds >= LONG_REINDEX_S),
        lambda s: _cost(s.reindex) if s.reindex else "",
        _why("Each version costs that again. Try it out by evaluations on fewer documents first."),
        lambda s: f"lockstep reindex {s.corpus} --model REF --engine ray",
    ),
    Rule(
        "short-reindex",
        Leaning.NOTE,
        _reindex(lambda r: r.seconds < LONG_REINDEX_S),
        lambda s: _cost(s.reindex) if s.reindex else "",
        _why("Searches go on meanwhile, and the version before stays ready to go back to."),
        lambda s: f"lockstep plan {s.corpus} --model {s.model}",
    ),
)


def _cost(reindex: Reindex) -> str:
    hours, minutes = divmod(round(reindex.seconds / 60), 60)
    long = f"{hours} h {minutes} min" if hours else f"{reindex.seconds / 60:.1f} min"
    return (
        f"A re-index takes about {long} and {reindex.disk_bytes / 1e6:,.0f} MB for "
        f"{reindex.passages:,} passages."
    )
