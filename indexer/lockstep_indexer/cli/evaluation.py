"""How an evaluation looks in the terminal."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from lockstep_indexer.cli.render import (
    duration,
    facts,
    heading,
    megabytes,
    note,
    plural,
    printable,
    table,
)

if TYPE_CHECKING:
    from lockstep_indexer.evaluate.results import (
        Comparison,
        Evaluation,
        GuardResult,
        ModelResult,
        Result,
        Slices,
    )

MOST_CHANGED = 5
_WITH_TIMES = 96  # columns
_TIMES = ("p50\nms", "p95\nms")
_VERDICTS = {
    "passed": ("✓ passed", "good"),
    "flagged": ("! flagged", "warn"),
    "failed": ("✗ failed", "bad"),
}


def rendered(found: "Evaluation", written: Sequence[Path], *, sliced: bool) -> list[RenderableType]:
    count = len(found.asked.queries)
    asked = f"{count:,} {'query' if count == 1 else 'queries'} of '{found.asked.set_name}'"
    parts: list[RenderableType] = [heading(found.collection, asked), Text(""), _Figures(found)]
    if found.comparisons:
        parts += [Text(""), *_comparisons(found.comparisons, found)]
    if found.slices and sliced:
        parts += [part for each in found.slices for part in (Text(""), *_slices(each))]
    if found.guard is not None:
        parts += [Text(""), *_guard(found.guard)]
    parts += [Text(""), facts([*_prefilters(found), *_costs(found)])]
    if found.notes or found.flags:
        parts.append(Text(""))
    parts += [note(printable(text)) for text in found.notes]
    for ref, flag in found.flags.items():
        parts += [note(f"{ref}: {flag.what}"), Text(f"→ {flag.next_step}", "faint")]
    if found.flags:
        said = (
            f"  {len(found.pairs)} random judged pairs are in the report (--report) and in --json"
        )
        parts.append(Text(said, "faint"))
    parts += [Text.assemble(("✓ ", "good"), f"written: {path}") for path in written]
    return parts


class _Figures:
    """The table of figures; times are left out where they would not fit beside them."""

    def __init__(self, found: "Evaluation") -> None:
        self._found = found

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fit = options.max_width >= _WITH_TIMES
        yield _table(self._found, times=fit)
        if not fit:
            yield Text("  Times: in a wider terminal, --report and --json", "faint")


def _table(found: "Evaluation", *, times: bool) -> Table:
    """A line for each search, those of a model under its name."""
    heads = [str(measure).replace("@", "\n@") for measure in found.measures]
    figures = [*heads, "of\ndense", *_TIMES[: 2 * times]]
    made = table("\nsearch", *figures, right=figures, whole=figures)
    made.collapse_padding = True
    if found.bm25 is not None:
        made.add_row("BM25, no model", *_figures(found, found.bm25, None)[: len(figures)])
    for model in found.models:
        full = next((r for w, r in model.results.items() if str(w) == "dense"), None)
        made.add_row(Text(printable(model.ref), "name"))
        for result in model.results.values():
            made.add_row(f"  {result.way}", *_figures(found, result, full)[: len(figures)])
    return made


def _prefilters(found: "Evaluation") -> Iterator[tuple[str, object]]:
    """Told once where it is the same for all."""
    told = {
        model.ref: f"the best {model.prefilter[1]:,} passages by the first {model.prefilter[0]} of "
        f"{model.dim} dimensions, rescored by all of them"
        for model in found.models
        if model.prefilter is not None
    }
    if len(set(told.values())) == 1 and len(told) == len(found.models):
        yield "prefilter", next(iter(told.values()))
    else:
        yield from ((f"prefilter of {printable(ref)}", what) for ref, what in told.items())


def _figures(found: "Evaluation", result: "Result", full: "Result | None") -> list[Text]:
    return list(_cells(found, result, full))


def _cells(found: "Evaluation", result: "Result", full: "Result | None") -> Iterator[Text]:
    best = max(
        (r.mean(found.headline) or 0.0 for m in found.models for r in m.results.values()),
        default=0.0,
    )
    for place, measure in enumerate(found.measures):
        mean = result.mean(measure)
        is_best = place == 0 and mean is not None and mean >= best
        yield Text("–" if mean is None else f"{mean:.3f}", "bold good" if is_best else "")
    yield Text(_share(found, result, full), "faint")
    yield Text(f"{result.latency.p50:.1f}", "faint")
    yield Text(f"{result.latency.p95:.1f}", "faint")


def _share(found: "Evaluation", result: "Result", full: "Result | None") -> str:
    """What short vectors keep of the whole ones' figure."""
    whole = full.mean(found.headline) if full is not None else None
    short = result.mean(found.headline)
    if not whole or short is None or not (result.way.dims or result.way.kind.value == "prefilter"):
        return ""
    return f"{short / whole:.1%}"


def _comparisons(
    comparisons: Sequence["Comparison"], found: "Evaluation"
) -> Iterator[RenderableType]:
    """A table for each model but the first, and what became of the queries."""
    count = len(comparisons)
    by_model = {
        each.model: [c for c in comparisons if c.model == each.model] for each in comparisons
    }
    for number, (ref, of_model) in enumerate(by_model.items()):
        if number:
            yield Text("")
        yield heading(
            f"{printable(ref)} against {printable(of_model[0].base)}",
            f"{found.headline}, query by query",
        )
        figures = ["mean", "difference", "95 % interval", "p", "better", "worse", "same"]
        made = table("search", *figures, right=figures, whole=figures)
        for each in of_model:
            made.add_row(str(each.way), *_compared(each))
        yield made
        if count > 1:
            yield Text(f"  p is corrected by Holm's method for {count} comparisons", "faint")
        for each in of_model:
            if str(each.way) == "dense":
                yield from _most_changed(each, found)


def _compared(each: "Comparison") -> Iterator[Text]:
    paired = each.paired
    style = "" if not each.is_significant else "good" if paired.difference > 0 else "bad"
    yield Text(f"{paired.candidate:.3f}")
    yield Text(f"{paired.difference:+.3f}", style)
    yield Text(f"{paired.low:+.3f} to {paired.high:+.3f}")
    yield Text(f"{each.adjusted_p:.2g}", style)
    for count in (each.wins, each.losses, each.ties):
        yield Text(f"{count:,}", "faint")


def _most_changed(each: "Comparison", found: "Evaluation") -> Iterator[RenderableType]:
    ids = found.asked.ids
    order = sorted(range(len(ids)), key=lambda n: (float(each.gains[n]), ids[n]))
    chosen = [n for n in order[::-1][:MOST_CHANGED] if each.gains[n] > 0]
    chosen += [n for n in order[:MOST_CHANGED][::-1] if each.gains[n] < 0]
    if not chosen:
        return
    yield Text("")
    yield heading(
        f"Most changed by {printable(each.model)}", f"{each.way} search, {found.headline}"
    )
    made = table("gain", "query", right=["gain"])
    for n in chosen:
        gain = float(each.gains[n])
        text = printable(found.asked.queries[ids[n]])
        made.add_row(Text(f"{gain:+.2f}", "good" if gain > 0 else "bad"), text[:160])
    yield made


def _slices(slices: "Slices") -> Iterator[RenderableType]:
    yield heading(f"By {printable(slices.by)}", str(slices.way))
    models = list(slices.rows[0].means) if slices.rows else []
    made = table("queries with", "queries", *models, right=["queries", *models])
    for row in slices.rows:
        means = [f"{row.means[model]:.3f}" for model in models]
        made.add_row(printable(row.label), f"{row.queries:,}", *means)
    yield made


def _guard(guard: "GuardResult") -> Iterator[RenderableType]:
    queries = len(guard.asked.queries)
    yield heading(
        f"Guard: {guard.collection}",
        f"{queries:,} queries, of whose mean at most {guard.margin:g} may be lost",
    )
    if not guard.lines:
        yield Text("  There is no second model to compare with the first.", "faint")
        return
    figures = ["mean", "difference", "95 % interval"]
    columns = ("model", "search", *figures, "verdict")
    made = table(*columns, right=figures, whole=["search", *figures])
    for line in guard.lines:
        paired = line.comparison.paired
        mark, style = _VERDICTS[line.verdict]
        made.add_row(
            printable(line.comparison.model),
            str(line.comparison.way),
            f"{paired.candidate:.3f}",
            f"{paired.difference:+.3f}",
            f"{paired.low:+.3f} to {paired.high:+.3f}",
            Text.assemble((mark, style), (f"  {line.detail}", "faint")),
        )
    yield made


def _costs(found: "Evaluation") -> Iterator[tuple[str, object]]:
    for model in found.models:
        yield f"index of {printable(model.ref)}", _cost(model)
    yield from _queries_by(found)
    yield "in all", duration(found.seconds)


def _cost(model: "ModelResult") -> str:
    cost = model.cost
    if cost.used is not None:
        copied = f", with {megabytes(cost.bytes)} of temporary copies" if cost.bytes else ""
        return f"{cost.used}, which was there{copied}"
    return (
        f"temporary, {plural(cost.documents, 'document')} in {duration(cost.seconds)} "
        f"({cost.documents_per_s:,.0f} a second), {megabytes(cost.bytes)}, removed; encoder: "
        f"{cost.encoded_by}"
    )


def _queries_by(found: "Evaluation") -> Iterator[tuple[str, object]]:
    told = {model.queries_by for model in found.models}
    for model in found.models:
        yield (
            f"queries of {printable(model.ref)}" if len(told) > 1 else "queries",
            (f"encoded by {model.queries_by}"),
        )
        if len(told) == 1:
            return
