"""The report of an evaluation: one HTML file that needs nothing else, not even a network."""

import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import lockstep
from lockstep_indexer.evaluate import plots
from lockstep_indexer.evaluate.results import Comparison, Evaluation

_TEMPLATE = "report.html.j2"
_MOST_CHANGED = 10
_LONGEST_PASSAGE = 600  # characters


def report(found: Evaluation) -> str:
    """The page; every text is escaped but the plots, whose texts matplotlib escapes."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = _figure
    template = environment.from_string(
        (files("lockstep_indexer.evaluate") / _TEMPLATE).read_text(encoding="utf-8")
    )
    return template.render(
        found=found,
        version=lockstep.__version__,
        made_at=time.strftime("%Y-%m-%d %H:%M"),
        plots=_plots(found),
        changed=[_changed(each, found) for each in _dense(found)],
        passage=lambda text: text[:_LONGEST_PASSAGE] + ("…" * (len(text) > _LONGEST_PASSAGE)),
    )


def _figure(value: float | None, places: int = 3, sign: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.{places}f}" if sign else f"{value:.{places}f}"


def _dense(found: Evaluation) -> list[Comparison]:
    return [each for each in found.comparisons if str(each.way) == "dense"]


def _plots(found: Evaluation) -> list[tuple[str, str, str]]:
    """Title, what it shows, and the SVG."""
    measure = str(found.headline)
    drawn: list[tuple[str, str, str | None]] = [
        ("Every way to search", f"{measure}; dotted: BM25 alone.", plots.ways_plot(found)),
        (
            "Matryoshka curve",
            f"Dense {measure} of vectors cut to fewer dimensions.",
            plots.dims_plot(found),
        ),
    ]
    drawn += [
        (
            f"Gain per query: {each.model}, {each.way}",
            f"{each.wins} better, {each.losses} worse, {each.ties} the same as {each.base}.",
            plots.gains_plot(each, measure),
        )
        for each in _dense(found)
    ]
    drawn += [
        (f"By {each.by}", f"{each.way} {measure}.", plots.slices_plot(each, measure))
        for each in found.slices
    ]
    drawn += [
        (
            f"Training of {model.ref}",
            "Loss, and quality on held-out queries, by step.",
            plots.training_plot(model),
        )
        for model in found.models
    ]
    return [(title, note, svg) for title, note, svg in drawn if svg is not None]


def _changed(comparison: Comparison, found: Evaluation) -> dict[str, Any]:
    """The queries that a model gained and lost most on."""
    ids = found.asked.ids
    order = sorted(range(len(ids)), key=lambda n: (-float(comparison.gains[n]), ids[n]))

    def rows(chosen: Sequence[int]) -> list[tuple[str, str, float]]:
        texts = found.asked.queries
        return [(ids[n], texts[ids[n]], float(comparison.gains[n])) for n in chosen]

    best = [n for n in order[:_MOST_CHANGED] if comparison.gains[n] > 0]
    worst = [n for n in order[: -_MOST_CHANGED - 1 : -1] if comparison.gains[n] < 0]
    return {"comparison": comparison, "best": rows(best), "worst": rows(worst)}
