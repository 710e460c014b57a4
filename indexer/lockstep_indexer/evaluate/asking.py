"""Asking one model's index every judged query, every way."""

from collections.abc import Mapping, Sequence

from lockstep_indexer.build.reindex import Listener
from lockstep_indexer.evaluate.collection import Asked
from lockstep_indexer.evaluate.kinds import Kind
from lockstep_indexer.evaluate.measures import ALL, Measure, figures
from lockstep_indexer.evaluate.options import Options
from lockstep_indexer.evaluate.results import Latency, Result
from lockstep_indexer.evaluate.ways import Ask, Asking, Way

# An application's page; of so many queries, evenly taken, a 95th percentile says something.
_PAGE = 10
_TIMED = 200
_WARM_UP = 5


def results(
    asking: Asking,
    ways: Sequence[Way],
    asked: Asked,
    options: Options,
    listener: Listener,
) -> dict[Way, Result]:
    """What each way came to; those that the index cannot be asked are left out."""
    asks = {way: ask for way in ways if (ask := asking.by(way)) is not None}
    wanted = list(dict.fromkeys([*options.measures, *ALL]))
    depth = max(measure.k for measure in wanted)
    runs: dict[Way, dict[str, Sequence[str]]] = {}
    for way, ask in asks.items():
        listener.stage(f"asking {way}")
        runs[way] = {key: ask(text, depth).document_ids for key, text in asked.queries.items()}
    listener.stage("timing")
    times = _timed(asks, list(asked.queries.values()))
    return {
        way: Result(
            way, figures(asked.judgments, run, _within(wanted, way, options)), run, times[way]
        )
        for way, run in runs.items()
    }


def _within(measures: Sequence[Measure], way: Way, options: Options) -> list[Measure]:
    """The measures that look at no more documents than the way gives."""
    if way.kind is not Kind.RERANK:
        return list(measures)
    return [measure for measure in measures if measure.k <= options.rerank_candidates]


def _timed(asks: Mapping[Way, Ask], queries: Sequence[str]) -> dict[Way, Latency]:
    """A page of hits for queries evenly taken, every way in turn: what slows the machine for a
    while slows all of them.
    """
    step = max(1.0, len(queries) / _TIMED)
    chosen = [queries[int(n * step)] for n in range(min(_TIMED, len(queries)))]
    for query in chosen[:_WARM_UP]:
        for ask in asks.values():
            ask(query, _PAGE)
    took: dict[Way, list[float]] = {way: [] for way in asks}
    for query in chosen:
        for way, ask in asks.items():
            took[way].append(ask(query, _PAGE).took_ms)
    return {way: Latency.of(each) for way, each in took.items()}
