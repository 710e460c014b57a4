"""Every rule of advice, where it holds and where it does not."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lockstep.corpus.query_sets import QuerySet
from lockstep.gates.statistics import Paired, paired
from lockstep_indexer.advise.fine_tuning import RULES, Verdict, should_fine_tune
from lockstep_indexer.advise.gains import GAIN_RULES, Gain
from lockstep_indexer.advise.measuring import sampled
from lockstep_indexer.advise.rules import Leaning, applied
from lockstep_indexer.advise.situation import Baseline, Pairs, Reindex, Situation

BASE = Baseline("judged", 200, dense=0.60, hybrid=0.61, bm25=0.55, uncertain=0.05)
REINDEX = Reindex(600.0, 50_000_000, documents=1000, passages=1200, window_tokens=256)
# Good enough search, enough pairs, nothing odd: what each case changes one thing of.
USUAL = Situation(
    corpus="docs",
    documents=1000,
    model="minilm@1",
    target=0.80,
    baseline=BASE,
    pairs=Pairs(2000, leaked=0),
    pair_files=("pairs.jsonl", "more pairs.csv"),
    reindex=REINDEX,
)


def base(**figures: Any) -> Situation:
    return replace(USUAL, baseline=replace(BASE, **figures))


def pairs(distinct: int, **more: Any) -> Situation:
    return replace(USUAL, pairs=Pairs(distinct, **more))


def high(distinct: int) -> Situation:
    return replace(pairs(distinct), baseline=replace(BASE, dense=0.75, hybrid=0.75))


# rule: (where it holds, where it does not)
CASES: dict[str, tuple[list[Situation], list[Situation]]] = {
    "no-model": ([replace(USUAL, model=None, baseline=None)], [USUAL]),
    "no-judgments": (
        [replace(USUAL, baseline=None)],
        [USUAL, replace(USUAL, model=None, baseline=None)],
    ),
    "few-queries": ([base(queries=59)], [base(queries=60), replace(USUAL, baseline=None)]),
    "target-met": (
        [replace(USUAL, target=0.61), replace(USUAL, target=0.5)],
        [replace(USUAL, target=0.62), replace(USUAL, target=None)],
    ),
    "target-near": ([replace(USUAL, target=0.63)], [replace(USUAL, target=0.61), USUAL]),
    "target-far": ([replace(USUAL, target=0.65)], [replace(USUAL, target=0.63)]),
    "no-pairs": ([replace(USUAL, pairs=None)], [USUAL, pairs(0)]),
    "leaking-pairs": (
        [pairs(2000, leaked=50, leaks_are_many=True)],
        [pairs(2000, leaked=3), pairs(2000)],
    ),
    "few-pairs": ([pairs(0), pairs(499)], [pairs(500), replace(USUAL, pairs=None)]),
    "some-pairs": ([pairs(500), pairs(999)], [pairs(499), pairs(1000)]),
    "enough-pairs": ([pairs(1000), pairs(4999)], [pairs(999), pairs(5000)]),
    "many-pairs": ([pairs(5000)], [pairs(4999), replace(USUAL, pairs=None)]),
    "low-baseline": ([USUAL, base(hybrid=0.699)], [base(hybrid=0.70), base(bm25=0.8)]),
    "high-ceiling": (
        [high(999), replace(high(0), pairs=None)],
        [high(1000), pairs(999), replace(USUAL, baseline=None, pairs=None)],
    ),
    "high-ceiling-many-pairs": ([high(1000)], [high(999), USUAL]),
    "words-beat-the-model": ([base(bm25=0.63)], [base(bm25=0.62), USUAL]),
    "hybrid-ahead": ([base(hybrid=0.63)], [base(hybrid=0.62)]),
    "hybrid-behind": ([base(hybrid=0.57)], [base(hybrid=0.58)]),
    "long-documents": ([replace(USUAL, reindex=replace(REINDEX, passages=3001))], [USUAL]),
    "reindex-refused": (
        [replace(USUAL, reindex=replace(REINDEX, refused="The disk has 1 GB free."))],
        [USUAL, replace(USUAL, reindex=None)],
    ),
    "long-reindex": ([replace(USUAL, reindex=replace(REINDEX, seconds=21_600.0))], [USUAL]),
    "short-reindex": ([USUAL], [replace(USUAL, reindex=replace(REINDEX, seconds=21_600.0))]),
}


def test_every_rule_is_told_of_here() -> None:
    assert list(CASES) == [rule.name for rule in RULES]


@pytest.mark.parametrize("name", CASES)
def test_a_rule_holds_where_it_should_and_nowhere_else(name: str) -> None:
    [rule] = [rule for rule in RULES if rule.name == name]
    holds, holds_not = CASES[name]
    for situation in holds:
        [advice] = applied([rule], situation)
        assert advice.finding.endswith(".")
        assert advice.reason
        if rule.leaning is not Leaning.UNKNOWN and name != "no-pairs":
            assert re.search(r"\d", advice.finding), "a finding without its figure"
        if rule.leaning is not Leaning.NOTE:
            assert advice.next_step
    assert [rule.name for one in holds_not for _ in applied([rule], one)] == []


@pytest.mark.parametrize(
    ("situation", "verdict", "command"),
    [
        (USUAL, Verdict.YES, "lockstep train docs --pairs pairs.jsonl"),
        (replace(USUAL, target=0.5), Verdict.NO, "lockstep evaluate docs --model minilm@1"),
        (replace(USUAL, baseline=None), Verdict.UNKNOWN, "lockstep qrels import docs PATH"),
        (replace(USUAL, baseline=None, pairs=None), Verdict.UNKNOWN, "lockstep qrels import docs"),
        (pairs(12), Verdict.FIRST, "lockstep pairs questions docs"),
        (high(700), Verdict.FIRST, "lockstep evaluate docs --model minilm@1 --rerank REF"),
        # As good as the set that went from .769 to .959: the rule of thumb alone must not say no.
        (replace(high(13_675), target=0.95), Verdict.YES, "lockstep train docs"),
        (Situation("docs", 10), Verdict.UNKNOWN, "lockstep advise docs --model REF"),
    ],
)
def test_the_verdict_follows_from_the_weightiest_finding(
    situation: Situation, verdict: Verdict, command: str
) -> None:
    answer = should_fine_tune(situation)
    assert answer.verdict is verdict
    assert answer.next_step.startswith(command)


def gain(
    before: float,
    after: float,
    *,
    noise: float = 0.001,
    leaked: int | None = None,
    queries: int = 200,
) -> Gain:
    random = np.random.default_rng(3)
    live = random.normal(before, 0.1, queries)
    live += before - live.mean()
    difference = random.normal(0, noise, queries)
    compared: Paired = paired(live + difference + (after - before) - difference.mean(), live)
    return Gain("docs", "minilm@1", "minilm@2", "dense", compared, leaked)


# rule: (where it holds, where it does not)
GAINS: dict[str, tuple[list[Gain], list[Gain]]] = {
    "leak-found": ([gain(0.5, 0.6, leaked=1)], [gain(0.5, 0.6), gain(0.5, 0.6, leaked=0)]),
    "worse": ([gain(0.5, 0.48)], [gain(0.5, 0.5, noise=0.5), gain(0.5, 0.6)]),
    "too-good": ([gain(0.4, 0.61)], [gain(0.4, 0.59), gain(0.769, 0.959)]),
    "too-small": ([gain(0.5, 0.52), gain(0.5, 0.529)], [gain(0.5, 0.54), gain(0.5, 0.48)]),
    "unproven": (
        [gain(0.5, 0.51, noise=0.5), gain(0.5, 0.6, queries=19)],
        [gain(0.5, 0.51), gain(0.5, 0.6, queries=20)],
    ),
    "proven": (
        [gain(0.5, 0.51), gain(0.5, 0.6)],
        [gain(0.5, 0.51, noise=0.5), gain(0.5, 0.4), gain(0.5, 0.6, queries=19)],
    ),
}


def test_every_rule_of_gains_is_told_of_here() -> None:
    assert list(GAINS) == [rule.name for rule in GAIN_RULES]


@pytest.mark.parametrize("name", GAINS)
def test_a_gain_is_judged(name: str) -> None:
    [rule] = [rule for rule in GAIN_RULES if rule.name == name]
    holds, holds_not = GAINS[name]
    for one in holds:
        [advice] = applied([rule], one)
        assert re.search(r"\d", advice.finding)
        assert advice.reason
        assert advice.next_step
    assert [rule.name for one in holds_not for _ in applied([rule], one)] == []


def test_a_sample_of_judged_queries_is_always_the_same() -> None:
    whole = QuerySet(
        "s", {f"q{n}": "text" for n in range(50)}, {f"q{n}": {"d": 1} for n in range(50)}
    )
    some = sampled(whole, 10)
    assert len(some.queries) == len(some.judgments) == 10
    assert sampled(whole, 10) == some
    assert sampled(whole, 50) is whole


def test_commands_name_the_files_as_a_shell_reads_them() -> None:
    assert should_fine_tune(USUAL).next_step == (
        "lockstep train docs --pairs pairs.jsonl --pairs 'more pairs.csv' --base minilm@1 "
        "--name NAME"
    )
    leaking = should_fine_tune(pairs(2000, leaked=9, leaks_are_many=True))
    assert "lockstep pairs check pairs.jsonl 'more pairs.csv' --against" in leaking.next_step
