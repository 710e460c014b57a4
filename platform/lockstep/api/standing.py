"""How the corpora and their indexes stand, as gauges that a scrape collects."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lockstep.api.latest import Latest
from lockstep.api.running import Running
from lockstep.bootstrap import Workspace
from lockstep.errors import LockstepError
from lockstep.index.versions import IndexVersion, State

logger = logging.getLogger(__name__)

_ENDED = frozenset({State.DROPPED, State.FAILED})


@dataclass(frozen=True)
class CorpusStanding:
    """One corpus as the catalog knows it."""

    name: str
    head_seq: int
    versions: list[IndexVersion]


class Standing(Collector):
    """Gauges of what is live, what this server answers from, and how far each index lags behind.

    The database and the store are read at each scrape. One that does not answer is told by
    `lockstep_part_up`, and delays the scrape by no more than WAIT_S.
    """

    def __init__(self, running: Callable[[], Running | None]) -> None:
        self._running = running
        self._catalog = Latest(lambda: _catalog(self._workspace()))
        self._aliases = Latest(lambda: self._workspace().store.aliases())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        running = self._running()
        if running is None:
            return
        self._aliases.start()  # beside the other
        corpora = self._catalog.value()
        aliases = self._aliases.value()
        serving = {g.version.corpus: g.version for g in running.workspace.serving.loaded()}
        yield _parts_up(database=self._catalog.up, store=self._aliases.up)
        yield _generation_info(serving)
        if corpora is not None:
            yield _head_seqs(corpora)
            yield _lags(corpora)
            if aliases is not None:
                yield from _live(corpora, aliases, serving)

    def _workspace(self) -> Workspace:
        running = self._running()
        if running is None:
            raise LockstepError("The server has not started yet.")
        return running.workspace


def _catalog(workspace: Workspace) -> list[CorpusStanding]:
    found = []
    for name in workspace.corpora.names():
        # In this order, so that no version seems to be ahead of its corpus.
        versions = workspace.catalog.versions(name)
        found.append(CorpusStanding(name, workspace.corpora.head_seq(name), versions))
    return found


def _parts_up(*, database: bool, store: bool) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "lockstep_part_up", "1 where this part answered the last scrape in time.", labels=["part"]
    )
    family.add_metric(["database"], database)
    family.add_metric(["store"], store)
    return family


def _generation_info(serving: dict[str, IndexVersion]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "lockstep_generation_info",
        "1 for the generation that answers the searches of a corpus on this server.",
        labels=["corpus", "index_version", "model_version"],
    )
    for corpus, version in serving.items():
        family.add_metric([corpus, version.collection, version.model_ref], 1)
    return family


def _head_seqs(corpora: list[CorpusStanding]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "lockstep_corpus_head_seq", "The last change of a corpus.", labels=["corpus"]
    )
    for corpus in corpora:
        family.add_metric([corpus.name], corpus.head_seq)
    return family


def _lags(corpora: list[CorpusStanding]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "lockstep_index_lag",
        "Changes of the corpus that an index version has not applied yet.",
        labels=["corpus", "index_version", "state"],
    )
    for corpus in corpora:
        for version in corpus.versions:
            if version.state not in _ENDED:
                lag = corpus.head_seq - version.applied_seq
                family.add_metric([corpus.name, version.collection, version.state.value], lag)
    return family


def _live(
    corpora: list[CorpusStanding], aliases: dict[str, str], serving: dict[str, IndexVersion]
) -> Iterator[GaugeMetricFamily]:
    has_live = GaugeMetricFamily(
        "lockstep_corpus_has_live", "1 where the corpus has a live version.", labels=["corpus"]
    )
    served = GaugeMetricFamily(
        "lockstep_corpus_served",
        "1 where this server answers from the live version of a corpus.",
        labels=["corpus"],
    )
    for corpus in corpora:
        live = aliases.get(corpus.name)
        answering = serving.get(corpus.name)
        has_live.add_metric([corpus.name], live is not None)
        served.add_metric([corpus.name], answering is not None and answering.collection == live)
    yield has_live
    yield served
