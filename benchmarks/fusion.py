"""Hybrid search next to the better of its two rankings, and how the default fusion was chosen.

Builds each collection with the default settings and asks all its judged queries. Then every
setting of every fusion method is tried on the same rankings: for each collection, the setting is
taken that does best on the *other* collections, so that none is judged by what it was tuned on.
Collections with a dev split lend that to the choice, the others all their queries.

    python -m benchmarks.fusion --data DIR
"""

import argparse
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ir_measures
import numpy as np
from ir_measures import nDCG
from numpy.typing import NDArray

from benchmarks.beir import Judged, read_judged
from benchmarks.search import build
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.gates.statistics import paired
from lockstep.search import asked as asking
from lockstep.search.hits import merge
from lockstep.search.plan import DEPTHS, make_plan
from lockstep.search.request import Fusion, FusionMethod, Mode, SearchRequest
from lockstep.settings import init_workspace
from lockstep.store.port import DOCUMENT_ID, Candidate

COLLECTIONS = ("cranfield", "cacm", "npl", "medquad")
MEASURE = nDCG @ 10
TOP = 10
SHARES = [round(share, 2) for share in np.arange(0.05, 1, 0.05).tolist()]  # of dense
RRF_KS = (2, 10, 20, 60, 100)

ALONE = (Fusion(dense_weight=1, lexical_weight=0), Fusion(dense_weight=0, lexical_weight=1))
AS_PUBLISHED = (Fusion(FusionMethod.RRF), Fusion(FusionMethod.DBSF))

Run = dict[str, dict[str, float]]
Figures = NDArray[np.float64]  # of each query, in the order of their ids


@dataclass(frozen=True)
class Ranked:
    """The two rankings of each judged query, as deep as a first page has them."""

    judged: Judged
    rankings: Mapping[str, dict[str, list[Candidate]]]
    documents: Mapping[str, str]  # of each point

    def figures(self, fusion: Fusion) -> Figures:
        run = {
            query: _run(
                self.documents[ranked.id]
                for ranked in merge(SearchRequest("-", fusion=fusion), rankings, DEPTHS[0])
            )
            for query, rankings in self.rankings.items()
        }
        return figures(self.judged, run)


def _run(documents: Iterable[str]) -> dict[str, float]:
    """The first documents, each once, with scores that say nothing but their order."""
    first: dict[str, float] = {}
    for document in documents:
        first.setdefault(document, float(TOP - len(first)))
        if len(first) == TOP:
            break
    return first


def figures(judged: Judged, run: Run) -> Figures:
    found = {m.query_id: m.value for m in ir_measures.iter_calc([MEASURE], judged.qrels, run)}
    return np.array([found.get(query, 0.0) for query in sorted(judged.qrels)])


def asked(workspace: Workspace, corpus: str, judged: Judged, mode: Mode) -> Figures:
    """What the product answers."""
    run = {
        query: _run(
            hit.document_id
            for hit in workspace.search(corpus, SearchRequest(text, limit=TOP, mode=mode)).hits
        )
        for query, text in judged.queries.items()
    }
    return figures(judged, run)


def ranked(workspace: Workspace, corpus: str, judged: Judged) -> Ranked:
    generation = workspace.serving.current(corpus)
    rankings: dict[str, dict[str, list[Candidate]]] = {}
    for query, text in judged.queries.items():
        request = SearchRequest(text)
        sought = asking.asked(generation, workspace.store, request)
        plan = make_plan(request, generation, sought).branches(DEPTHS[0])
        found = workspace.store.search(generation.collection, list(plan.values()))
        rankings[query] = dict(zip(plan, found, strict=True))
    return Ranked(judged, rankings, _documents(workspace, generation.collection))


def _documents(workspace: Workspace, collection: str) -> dict[str, str]:
    documents: dict[str, str] = {}
    start: str | None = None
    while True:
        page = workspace.store.scroll(collection, start_id=start, fields=[DOCUMENT_ID])
        documents |= {record.id: record.payload[DOCUMENT_ID] for record in page.records}
        if (start := page.next_id) is None:
            return documents


def settings(method: FusionMethod) -> list[Fusion]:
    ks = RRF_KS if method is FusionMethod.RRF else (None,)
    return [Fusion(method, k, share, round(1 - share, 2)) for k in ks for share in SHARES]


def shown(fusion: Fusion) -> str:
    k = f" k {fusion.k}" if fusion.k else ""
    return f"{fusion.method}{k} dense {fusion.dense_weight:.2f}"


def report_asked(workspace: Workspace, name: str, judged: Judged) -> Figures:
    """Prints a row of the table; gives the figures of the better ranking alone."""
    found = {mode: asked(workspace, name, judged, mode) for mode in Mode}
    better = max(found[Mode.DENSE], found[Mode.LEXICAL], key=lambda each: float(each.mean()))
    gain = paired(found[Mode.HYBRID], better)
    print(
        f"| {name} | {len(better)} | {found[Mode.DENSE].mean():.4f} | "
        f"{found[Mode.LEXICAL].mean():.4f} | {found[Mode.HYBRID].mean():.4f} | "
        f"{gain.difference:+.4f} | {gain.low:+.4f} to {gain.high:+.4f} |",
        flush=True,
    )
    return better


@dataclass(frozen=True)
class Evidence:
    """What each setting comes to on each collection."""

    chosen_by: Mapping[str, Mapping[Fusion, float]]  # over the better ranking alone, as a share
    held_out: Mapping[str, Mapping[Fusion, Figures]]  # on the queries of the table

    @classmethod
    def gather(cls, choosing: Mapping[str, Ranked], table: Mapping[str, Ranked]) -> "Evidence":
        tried = {name: _tried(collection) for name, collection in table.items()}
        chosen_by: dict[str, dict[Fusion, float]] = {}
        for name, collection in choosing.items():
            known = tried[name] if collection is table.get(name) else _tried(collection)
            better = max(known[alone].mean() for alone in ALONE)
            chosen_by[name] = {
                each: float(found.mean() / better - 1) for each, found in known.items()
            }
        return cls(chosen_by, tried)

    def best(self, candidates: Sequence[Fusion], *, without: str | None = None) -> Fusion:
        rest = [shares for name, shares in self.chosen_by.items() if name != without]
        return max(candidates, key=lambda each: sum(shares[each] for shares in rest))


def _tried(collection: Ranked) -> dict[Fusion, Figures]:
    every = [each for method in FusionMethod for each in settings(method)]
    return {each: collection.figures(each) for each in [*every, *ALONE, *AS_PUBLISHED]}


def report_choice(evidence: Evidence, better: Mapping[str, Figures]) -> None:
    print(
        "\n| method | held out | setting chosen on the others | nDCG@10 | over the better, 95 % |"
    )
    print("|---|---|---|---|---|")
    for method in FusionMethod:
        for name, tried in evidence.held_out.items():
            best = evidence.best(settings(method), without=name)
            gain = paired(tried[best], better[name])
            print(
                f"| {method} | {name} | {shown(best)} | {gain.candidate:.4f} | "
                f"{gain.difference:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) |"
            )
        print(f"| {method} | none | {shown(evidence.best(settings(method)))} | | |")
    for each in AS_PUBLISHED:
        for name, tried in evidence.held_out.items():
            gain = paired(tried[each], better[name])
            print(
                f"| {each.method} | {name} | as published | {gain.candidate:.4f} | "
                f"{gain.difference:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) |"
            )


def report_neighbours(evidence: Evidence) -> None:
    print("\n| share of dense | " + " | ".join(evidence.held_out) + " |")
    print("|---|" + "---|" * len(evidence.held_out))
    for each in settings(FusionMethod.CONVEX):
        row = [f"{tried[each].mean():.4f}" for tried in evidence.held_out.values()]
        print(f"| {each.dense_weight:.2f} | " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    parser.add_argument("--collections", nargs="+", default=COLLECTIONS, metavar="NAME")
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME", help="only to choose by")
    parser.add_argument("--queries", type=int, default=300, help="of a collection, at most")
    parser.add_argument("--workspace", type=Path, help="keep the indexes here for the next run")
    parser.add_argument("--table-only", action="store_true", help="leave the choice out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.workspace or Path(scratch) / "workspace"
        init_workspace(root)
        with open_workspace(root) as workspace:
            run(workspace, arguments)


def run(workspace: Workspace, arguments: argparse.Namespace) -> None:
    data, limit = arguments.data, arguments.queries
    for name in [*arguments.collections, *arguments.also]:
        print(f"== {name}", flush=True)
        build(workspace, data / name)
    table = {name: read_judged(data / name, limit=limit) for name in arguments.collections}
    print("\n| collection | queries | dense | BM25 | hybrid | over the better | 95 % |")
    print("|---|---|---|---|---|---|---|")
    better = {name: report_asked(workspace, name, judged) for name, judged in table.items()}
    if arguments.table_only:
        return
    held_out = {name: ranked(workspace, name, judged) for name, judged in table.items()}
    choosing = dict(held_out)
    for name in [*arguments.collections, *arguments.also]:
        split = "dev" if (data / name / "qrels" / "dev.tsv").exists() else "test"
        if name not in held_out or split == "dev":
            judged = read_judged(data / name, split=split, limit=limit)
            choosing[name] = ranked(workspace, name, judged)
    evidence = Evidence.gather(choosing, held_out)
    report_choice(evidence, better)
    report_neighbours(evidence)


if __name__ == "__main__":
    main()
