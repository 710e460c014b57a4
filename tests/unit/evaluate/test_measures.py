"""Our figures are the library's, per query, on run files that anyone can give to trec_eval."""

import random
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
import pytrec_eval

from lockstep.errors import InvalidInput
from lockstep_indexer.evaluate.measures import ALL, Measure, figures
from lockstep_indexer.evaluate.runs import write_qrels, write_run

CUTS = (1, 3, 5, 10, 100)
OURS = {"nDCG": "ndcg_cut", "MAP": "map_cut", "Recall": "recall", "Precision": "P"}

Judgments = dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def judgments() -> Judgments:
    """Graded, some with grade 0 only beside others, and ids that are not ASCII."""
    draws = random.Random(5)
    return {
        f"q{n}": {f"dokument-ü{draws.randrange(80)}": draws.randrange(4) for _ in range(12)}
        | {"d-relevant": 1}
        for n in range(40)
    }


@pytest.fixture(scope="module")
def run(judgments: Judgments) -> dict[str, list[str]]:
    """Rankings of all lengths; some queries find nothing at all, one has no answer."""
    draws = random.Random(6)
    found = {}
    for n, query in enumerate(sorted(judgments)[:-1]):
        ids = [f"dokument-ü{m}" for m in range(80)] + ["d-relevant"]
        found[query] = draws.sample(ids, 0 if n % 9 == 0 else draws.randrange(1, 81))
    return found


def by_pytrec_eval(qrels_file: Path, run_file: Path) -> dict[str, dict[str, float]]:
    """The same files by the library itself; a query without an answer is not in its figures."""
    with qrels_file.open() as file:
        qrels = pytrec_eval.parse_qrel(file)
    with run_file.open() as file:
        run = pytrec_eval.parse_run(file)
    names = {f"{name}.{','.join(map(str, CUTS))}" for name in OURS.values()} | {"recip_rank"}
    found: dict[str, dict[str, float]] = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(run)
    return found


def test_figures_are_those_of_trec_eval_on_the_same_files(
    judgments: Judgments, run: dict[str, list[str]], tmp_path: Path
) -> None:
    write_qrels(tmp_path / "qrels.txt", judgments)
    write_run(tmp_path / "a.run", run, "a")
    theirs = by_pytrec_eval(tmp_path / "qrels.txt", tmp_path / "a.run")
    ours = figures(judgments, run, ALL)
    for place, query in enumerate(sorted(judgments)):
        known = theirs.get(query, {})
        for k in CUTS:
            for name, theirs_name in OURS.items():
                expected = known.get(f"{theirs_name}_{k}", 0.0)
                assert ours[Measure(name, k)][place] == pytest.approx(expected, abs=1e-9)
            rank = known.get("recip_rank", 0.0)
            cut = rank if rank * k > 1 - 1e-9 else 0.0
            assert ours[Measure("MRR", k)][place] == pytest.approx(cut, abs=1e-9)


def test_f1_is_made_of_the_precision_and_recall_of_each_query(
    judgments: Judgments, run: dict[str, list[str]]
) -> None:
    found = figures(judgments, run, [Measure(n, 10) for n in ("F1", "Precision", "Recall")])
    precision, recall = found[Measure("Precision", 10)], found[Measure("Recall", 10)]
    expected = [
        2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precision, recall, strict=True)
    ]
    assert found[Measure("F1", 10)] == pytest.approx(expected, abs=1e-12)
    # The mean of F1 is not the F1 of the means.
    means = precision.mean(), recall.mean()
    assert abs(found[Measure("F1", 10)].mean() - 2 * means[0] * means[1] / sum(means)) > 1e-4


def test_means_are_those_of_ir_measures_over_all_judged_queries(
    judgments: Judgments, run: dict[str, list[str]], tmp_path: Path
) -> None:
    write_qrels(tmp_path / "qrels.txt", judgments)
    write_run(tmp_path / "a.run", run, "a")
    library: Any = ir_measures  # its readers have no types
    qrels = list(library.read_trec_qrels(str(tmp_path / "qrels.txt")))
    scored = list(library.read_trec_run(str(tmp_path / "a.run")))
    wanted = [ir_measures.nDCG @ 10, ir_measures.RR @ 10, ir_measures.AP @ 100]
    theirs = ir_measures.calc_aggregate(wanted, qrels, scored)
    ours = figures(judgments, run, [Measure("nDCG", 10), Measure("MRR", 10), Measure("MAP", 100)])
    means = [float(np.mean(row)) for row in ours.values()]
    assert means == pytest.approx([theirs[measure] for measure in wanted], abs=1e-9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ndcg@10", "nDCG@10"), ("R@100", "Recall@100"), ("RR@5", "MRR@5"), ("f1@3", "F1@3")],
)
def test_measures_are_read_as_people_write_them(text: str, expected: str) -> None:
    assert str(Measure.parse(text)) == expected


@pytest.mark.parametrize("text", ["nDCG", "hits@10", "nDCG@", "nDCG@ten", ""])
def test_what_is_no_measure_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no measure; expected one of nDCG, MRR"):
        Measure.parse(text)


@pytest.mark.parametrize("k", [0, 1001])
def test_a_measure_looks_at_no_more_than_a_search_gives(k: int) -> None:
    with pytest.raises(InvalidInput, match="a search gives 1 to 1000"):
        Measure.parse(f"nDCG@{k}")
