"""The report: one file, well formed, and no text of the data is ever markup."""

import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from lockstep.gates.statistics import paired
from lockstep_indexer.cli.evaluation import rendered
from lockstep_indexer.cli.streams import THEME
from lockstep_indexer.evaluate import plots
from lockstep_indexer.evaluate.collection import Asked
from lockstep_indexer.evaluate.comparing import compared
from lockstep_indexer.evaluate.guarding import guard_lines
from lockstep_indexer.evaluate.indexes import Cost
from lockstep_indexer.evaluate.judging import gain_flag
from lockstep_indexer.evaluate.keeping import kept
from lockstep_indexer.evaluate.kinds import Kind
from lockstep_indexer.evaluate.measures import SHOWN, figures
from lockstep_indexer.evaluate.report import report
from lockstep_indexer.evaluate.results import (
    Evaluation,
    GuardResult,
    Latency,
    ModelResult,
    Result,
    SliceRow,
    Slices,
)
from lockstep_indexer.evaluate.ways import Way

EVIL = '<script>alert("x")</script> & $\\frac$ _'
WAYS = (Way(Kind.DENSE), Way(Kind.DENSE, 8), Way(Kind.PREFILTER), Way(Kind.HYBRID))
JUDGMENTS = {f"q{n}": {f"d{n}": 2, f"d{n + 1}": 1} for n in range(8)}
ASKED = Asked(EVIL, dict.fromkeys(JUDGMENTS, f"{EVIL} query"), JUDGMENTS, 0, (), 0, 0)
COURSE = {"losses": [[10, 2.0], [20, 1.5]], "quality": [[10, 0.4], [20, 0.5]]}


def result(way: Way, shift: int) -> Result:
    run = {f"q{n}": [f"d{(n + shift * (n % 3)) % 9}", "d1", f"d{n}"] for n in range(8)}
    run = {query: list(dict.fromkeys(ids)) for query, ids in run.items()}
    return Result(way, figures(JUDGMENTS, run, SHOWN), run, Latency.of([1.0, 2.0]))


def model(ref: str, shift: int, lineage: object = None) -> ModelResult:
    cost = Cost(None, 9, 9, 1.0, 0.5, 1_000, EVIL)
    results = {way: result(way, shift) for way in WAYS}
    lineage = {"course": lineage}
    return ModelResult(
        ref, "0" * 64, False, 32, "cpu", lineage, results, cost, (8, 400), queries_by=EVIL
    )


@pytest.fixture(scope="module")
def found() -> Evaluation:
    models = [model(f"{EVIL}@1", 1), model("_tuned@2", 0, COURSE)]
    comparisons = compared(models, SHOWN[0])
    flag = gain_flag(0.2, 0.6)
    assert flag is not None
    row = SliceRow(EVIL, 8, {m.ref: 0.5 for m in models})
    guard = GuardResult(EVIL, 0.01, models, guard_lines(comparisons[:1], 0.01), ASKED)
    return Evaluation(
        collection=EVIL,
        asked=ASKED,
        measures=SHOWN,
        bm25=result(Way(Kind.BM25), 2),
        models=models,
        comparisons=comparisons,
        slices=[Slices(EVIL, WAYS[0], [row])],
        guard=guard,
        flags={"_tuned@2": flag},
        pairs=[(EVIL, EVIL)],
        notes=[EVIL],
        seconds=1.0,
    )


def test_texts_of_the_data_are_never_markup(found: Evaluation) -> None:
    page = report(found)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 15


def test_the_report_asks_for_nothing_else(found: Evaluation) -> None:
    page = report(found)
    assert not re.search(r"(src|href)=\"(?!#)", page.replace('xlink:href="#', ""))
    namespaces = {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\"\s<]+", page)) <= namespaces


def test_every_plot_is_well_formed_and_the_same_each_time(found: Evaluation) -> None:
    drawn = [
        plots.ways_plot(found),
        plots.dims_plot(found),
        plots.gains_plot(found.comparisons[0], "nDCG@10"),
        plots.slices_plot(found.slices[0], "nDCG@10"),
        plots.training_plot(found.models[1]),
    ]
    for svg in drawn:
        assert svg is not None
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert "currentColor" in svg
    assert plots.ways_plot(found) == drawn[0]
    assert "_tuned@2" in drawn[0]  # matplotlib hides labels that begin so
    page = report(found)
    names = re.findall(r"\bid=\"([^\"]+)\"", page)
    assert len(names) == len(set(names))


def test_a_model_that_tells_of_no_training_has_no_training_curve(found: Evaluation) -> None:
    assert plots.training_plot(found.models[0]) is None
    assert plots.training_plot(model("odd@1", 0, {"losses": ["nonsense", 3]})) is None


def test_the_figures_of_the_report_are_those_of_the_evaluation(found: Evaluation) -> None:
    page = report(found)
    one = paired(*(m.results[WAYS[0]].figures[SHOWN[0]] for m in reversed(found.models)))
    assert f"{one.low:+.3f} to {one.high:+.3f}" in page
    assert f"{np.mean(found.models[1].results[WAYS[3]].figures[SHOWN[1]]):.3f}" in page


def test_characters_that_a_font_lacks_are_the_readers_affair(found: Evaluation) -> None:
    row = SliceRow("中文", 8, {"one@1": 0.5})
    assert "中文" in plots.slices_plot(Slices("language", WAYS[0], [row]), "nDCG@10")


@pytest.mark.parametrize(("width", "times"), [(80, False), (100, True)])
def test_figures_fit_a_terminal(found: Evaluation, width: int, times: bool) -> None:
    console = Console(width=width, theme=THEME, record=True, file=io.StringIO())
    for part in rendered(replace(found, guard=None), [], sliced=False):
        console.print(part)
    lines = console.export_text().splitlines()
    assert sum(line.startswith("  prefilter  ") for line in lines) >= 2
    figures = next(line for line in lines if line.startswith("  dense 8 "))
    assert len(figures.split()) == 2 + len(SHOWN) + 1 + 2 * times
    assert any("Times: in a wider terminal" in line for line in lines) is not times


def test_runs_of_models_whose_paths_are_alike_are_all_kept(
    found: Evaluation, tmp_path: Path
) -> None:
    models = [replace(model("a/b", 1), digest="1" * 64), replace(model("a-b", 0), digest="2" * 64)]
    written, failed = kept(replace(found, models=models), None, tmp_path)
    assert (written, failed) == ([tmp_path], [])
    assert len(list(tmp_path.glob("*dense.run"))) == 2
