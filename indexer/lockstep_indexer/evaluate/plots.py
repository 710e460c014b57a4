"""Plots as SVG that takes its text colour from the page, so that it reads in light and in dark."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lockstep_indexer.evaluate.kinds import Kind
from lockstep_indexer.evaluate.results import Comparison, Evaluation, ModelResult, Slices
from lockstep_indexer.evaluate.ways import Way

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart in light and dark, and by those who see red and green alike (Okabe, Ito, 2008).
COLOURS = ("#7f8c9b", "#0096d6", "#e69f00", "#00a878", "#cc79a7", "#d55e00", "#b0a800")
_GAIN, _LOSS = "#00a878", "#d55e00"
_INK = "#012345"  # becomes the page's own text colour
_WIDE, _HIGH = 6.4, 3.4  # inches
_LONGEST = 26  # characters of a label

_STYLE: Any = {  # a TypedDict of all there is
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a dollar is a dollar
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
    "grid.color": _INK,
}


def ways_plot(found: Evaluation) -> str:
    """The headline measure of every way to search, a bar for each model."""
    ways = list(dict.fromkeys(way for model in found.models for way in model.results))
    rows = {model.ref: [_mean(model, way, found) for way in ways] for model in found.models}
    labels = [str(way) for way in ways]
    with _drawn("ways", high=0.9 + 0.26 * len(ways) * (len(rows) + 0.6)) as (axes, svg):
        if found.bm25 is not None and (mean := found.bm25.mean(found.headline)) is not None:
            axes.axvline(mean, color=_INK, linewidth=1, linestyle=":", label="BM25")
        _bars(axes, labels, rows)
        axes.set_xlabel(str(found.headline))
    return svg.text


def dims_plot(found: Evaluation) -> str | None:
    """The Matryoshka curve: what is left of the measure when vectors are cut short."""
    curves = {model.ref: _curve(model, found) for model in found.models}
    if not any(len(curve) > 1 for curve in curves.values()):
        return None
    with _drawn("dims") as (axes, svg):
        for (ref, curve), colour in zip(curves.items(), _colours(), strict=False):
            axes.plot(*zip(*curve, strict=True), "o-", color=colour, label=_shortened(ref))
        ticks = sorted({dims for curve in curves.values() for dims, _ in curve})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("dimensions of the vectors")
        axes.set_ylabel(str(found.headline))
        axes.legend(loc="lower right")
    return svg.text


def gains_plot(comparison: Comparison, measure: str) -> str:
    """Every query's gain over the first model, the largest first."""
    gains = sorted((float(gain) for gain in comparison.gains), reverse=True)
    with _drawn(f"gains {comparison.model} {comparison.way}", high=2.6) as (axes, svg):
        # Two shapes, not a bar each: thousands of queries would be megabytes.
        edges = [n - 0.5 for n in range(len(gains) + 1)]
        for colour, least, most in ((_GAIN, 0.0, 1.0), (_LOSS, -1.0, 0.0)):
            cut = [min(max(gain, least), most) for gain in gains]
            axes.stairs(cut, edges, fill=True, color=colour)
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.set_xlim(-0.5, len(gains) - 0.5)
        axes.set_xlabel("queries, by gain")
        axes.set_ylabel(f"gain of {measure}")
    return svg.text


def slices_plot(slices: Slices, measure: str) -> str:
    """A bar for each model and part of the queries."""
    labels = [f"{_shortened(row.label)} ({row.queries})" for row in slices.rows]
    models = list(slices.rows[0].means)
    rows = {ref: [row.means[ref] for row in slices.rows] for ref in models}
    high = 0.9 + 0.26 * len(labels) * (len(models) + 0.6)
    with _drawn(f"slices {slices.by}", high=high) as (axes, svg):
        _bars(axes, labels, rows)
        axes.set_xlabel(measure)
    return svg.text


def training_plot(model: ModelResult) -> str | None:
    """The loss, and the quality on held-out data, of a model whose lineage tells of them."""
    losses, quality = (_course(model.lineage, name) for name in ("losses", "quality"))
    if len(losses) < 2:
        return None
    with _drawn(f"training {model.ref}", high=2.6) as (axes, svg):
        axes.plot(*zip(*losses, strict=True), color=COLOURS[0], label="loss")
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        if quality:
            beside = axes.twinx()
            beside.plot(*zip(*quality, strict=True), "o-", color=COLOURS[1], markersize=3)
            beside.set_ylabel("nDCG@10, held out", color=COLOURS[1])
            beside.spines["right"].set_visible(True)
            beside.grid(visible=False)
    return svg.text


class _Svg:
    text = ""


@contextmanager
def _drawn(name: str, *, high: float = _HIGH) -> Iterator[tuple["Axes", _Svg]]:
    """Axes to draw on; the SVG is there after the block. The same data give the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    svg = _Svg()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDE, high), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.subplots(), svg
        written = io.StringIO()
        with warnings.catch_warnings():
            # Text stays text: it is the reader's fonts that must have the characters.
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg.text = _inline(written.getvalue())


def _inline(svg: str) -> str:
    """Without prologue, fixed size and names: several stand on one page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' id="[a-zA-Z]+[\w.]*_\d+"', "", svg)
    return svg.replace(_INK, "currentColor")


def _bars(axes: Any, labels: Sequence[str], rows: Mapping[str, Sequence[float | None]]) -> None:
    """Grouped horizontal bars, each with its figure, from the top."""
    thick = 0.8 / len(rows)
    for number, ((ref, means), colour) in enumerate(zip(rows.items(), _colours(), strict=False)):
        places = [n + (number - (len(rows) - 1) / 2) * thick for n in range(len(labels))]
        drawn = axes.barh(
            places,
            [mean or 0.0 for mean in means],
            height=thick * 0.9,
            color=colour,
            label=_shortened(ref),
        )
        texts = ["" if mean is None else f"{mean:.3f}" for mean in means]
        axes.bar_label(drawn, labels=texts, padding=3, fontsize=8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def _curve(model: ModelResult, found: Evaluation) -> list[tuple[int, float]]:
    points = {
        way.dims or model.dim: result.mean(found.headline)
        for way, result in model.results.items()
        if way.kind is Kind.DENSE
    }
    return sorted((dims, mean) for dims, mean in points.items() if mean is not None)


def _mean(model: ModelResult, way: Way, found: Evaluation) -> float | None:
    return model.results[way].mean(found.headline) if way in model.results else None


def _course(lineage: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    """Pairs of step and figure; nothing where the lineage says something else."""
    course = lineage.get("course")
    pairs = course.get(name) if isinstance(course, dict) else None
    try:
        return [(float(step), float(value)) for step, value in pairs or ()]
    except (TypeError, ValueError):
        return []


def _colours() -> Iterator[str]:
    while True:
        yield from COLOURS


def _shortened(text: str) -> str:
    """A label that fits; one that begins with _ would be left out of legends."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return f"\u200b{short}" if short.startswith("_") else short
