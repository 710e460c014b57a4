"""How a finished training looks: in the terminal, and as JSON."""

from typing import TYPE_CHECKING

from rich.console import RenderableType

from lockstep_indexer.cli.model_facts import version_json
from lockstep_indexer.cli.render import done, duration, facts, next_step, note, plural, table
from lockstep_indexer.cli.session import Json

if TYPE_CHECKING:
    from lockstep_indexer.train.comparison import Comparison
    from lockstep_indexer.train.order import Trained


def trained_json(corpus: str, trained: "Trained") -> Json:
    return {
        "corpus": corpus,
        "model": {**version_json(trained.version), "created": trained.version.created},
        "base": trained.base.ref,
        "examples": trained.examples,
        "held_out_queries": trained.held_out,
        "better": trained.comparison.is_better,
        "measures": trained.comparison.to_json(),
        "settings": trained.settings.to_json(),
        "course": trained.course.to_json(),
        "resumed_at": trained.course.resumed_at,
        "contamination": dict(trained.contamination),
        "warnings": list(trained.warnings),
        "seconds": round(trained.seconds, 1),
        "next": _next(corpus, trained),
    }


def trained_rendered(corpus: str, trained: "Trained") -> list[RenderableType]:
    version, course, comparison = trained.version, trained.course, trained.comparison
    said = (
        done(f"{version.ref} registered: {comparison.verdict}, {trained.base.ref}")
        if comparison.is_better
        else note(f"{version.ref} registered, but {comparison.verdict} (base: {trained.base.ref}).")
    )
    dims = ", ".join(map(str, version.manifest.matryoshka_dims))
    steps = plural(course.steps, "step")
    best = f", the best after {course.best_step:,}" if course.best_step else ""
    resumed = f", resumed at {course.resumed_at:,}" if course.resumed_at else ""
    return [
        said,
        *_measures(comparison),
        facts(
            [
                ("trained on", f"{plural(trained.examples, 'example')} by {trained.settings.loss}"),
                ("time", f"{duration(trained.seconds)}: {steps}{best}{resumed}"),
                ("numbers", course.precision),
                ("Matryoshka", dims),
                ("on the way", "; ".join(course.events)),
            ]
        ),
        next_step(_next(corpus, trained), "Build an index with it"),
    ]


def _measures(comparison: "Comparison") -> list[RenderableType]:
    if comparison.full is None:
        return []
    made = table(
        "nDCG@10", "base", "trained", "difference", "95 % interval", "p",
        right=["base", "trained", "difference", "95 % interval", "p"],
    )  # fmt: skip
    for each in comparison.lengths:
        found = each.paired
        made.add_row(
            f"{each.dims} dimensions",
            f"{found.live:.4f}",
            f"{found.candidate:.4f}",
            f"{found.difference:+.4f}",
            f"{found.low:+.4f} to {found.high:+.4f}",
            f"{found.p_value:.4f}",
        )
    queries = comparison.full.paired.queries
    measured = f"{plural(queries, 'held-out query').replace('querys', 'queries')} among "
    return [made, facts([("measured by", f"{measured}{comparison.passages:,} passages")])]


def _next(corpus: str, trained: "Trained") -> str:
    return f"lockstep reindex {corpus} --model {trained.version.ref}"
