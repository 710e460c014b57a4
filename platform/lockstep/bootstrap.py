"""The composition root: the one place that knows which parts a workspace is made of."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from lockstep.corpus.api_keys import ApiKeys
from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.corpus.query_log import QueryLog
from lockstep.corpus.query_sets import QuerySets
from lockstep.errors import CursorExpired, IndexVersionNotFound, InvalidInput, SearchUnsupported
from lockstep.gates.gatekeeper import Gatekeeper
from lockstep.gates.queries import Queries
from lockstep.index.applier import Applier
from lockstep.index.catalog import IndexCatalog
from lockstep.index.follower import Follower
from lockstep.index.generation import Generation
from lockstep.index.leases import Leases
from lockstep.index.probe import Prober
from lockstep.index.repair import Repairer
from lockstep.index.replicas import Replicas
from lockstep.index.retirement import Retirement
from lockstep.index.rollouts import Rollouts
from lockstep.index.serving import Serving
from lockstep.index.trials import Trials
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.compiled_files import CompiledFiles
from lockstep.models.encoder import QueryOptions
from lockstep.models.encoders import Encoders
from lockstep.models.query_compiler import QueryCompiler
from lockstep.models.registry import ModelRegistry
from lockstep.models.rerankers import Rerankers
from lockstep.search.cursor import Resumed, resume
from lockstep.search.interleaved import search_interleaved
from lockstep.search.request import MAX_BATCH, SearchRequest, SearchResponse
from lockstep.search.search import search, search_batch
from lockstep.settings import Settings, load_settings
from lockstep.store.deadline import within
from lockstep.store.filters import prefixed
from lockstep.store.port import VectorStore


@dataclass(frozen=True)
class Workspace:
    """The parts of one workspace, wired together. Close it, or use it in a `with` block."""

    settings: Settings
    database: Database
    keys: ApiKeys
    corpora: Corpora
    artefacts: ArtefactStore
    models: ModelRegistry
    encoders: Encoders
    rerankers: Rerankers
    store: VectorStore
    catalog: IndexCatalog
    leases: Leases
    replicas: Replicas
    applier: Applier
    prober: Prober
    query_sets: QuerySets
    query_log: QueryLog
    trials: Trials
    gatekeeper: Gatekeeper
    rollouts: Rollouts
    retirement: Retirement
    repairer: Repairer
    serving: Serving

    def search(
        self, corpus: str, request: SearchRequest | str, *, index_version: int | None = None
    ) -> SearchResponse:
        """Search the live version of a corpus, or the version that `index_version` pins.

        Follows the alias: whatever was promoted last, by whichever process, answers. A cursor pins
        the version that gave it; InvalidInput is raised where `index_version` is another. A request
        with a scope is answered by no version that lags behind the live one: raises AccessDenied,
        or Unavailable where that is about to change.
        """
        if isinstance(request, str):
            request = SearchRequest(request)
        if request.cursor is not None:
            return self._next_page(corpus, resume(request, request.cursor), index_version)
        generation = self._generation(corpus, index_version)
        self._require_abreast(generation, [request])
        self._load_rerankers([request])
        with within(self.settings.search_timeout_s):
            return search(generation, self.store, request, self.rerankers)

    def search_batch(
        self, corpus: str, requests: Sequence[SearchRequest], *, index_version: int | None = None
    ) -> list[SearchResponse]:
        """Several searches, answered by one and the same version; queries are encoded together.

        Raises InvalidInput where there are too many, or one goes on with a list of its own.
        """
        if len(requests) > MAX_BATCH or any(request.cursor is not None for request in requests):
            raise InvalidInput(
                f"A batch has at most {MAX_BATCH} searches, none of them with a cursor.",
                next_step="Send several batches; go on with lists one by one.",
            )
        generation = self._generation(corpus, index_version)
        self._require_abreast(generation, requests)
        self._load_rerankers(requests)
        with within(self.settings.search_timeout_s):
            return search_batch(generation, self.store, requests, self.rerankers)

    def _load_rerankers(self, requests: Sequence[SearchRequest]) -> None:
        """Loading is no part of the time that a search may take, as it is not for generations."""
        for ref in {request.rerank.ref for request in requests if request.rerank} - {None}:
            self.rerankers.get(self.rerankers.find(str(ref)))

    def _generation(self, corpus: str, index_version: int | None) -> Generation:
        if index_version is None:
            return self.serving.current(corpus)
        return self.serving.pinned(corpus, index_version)

    def _require_abreast(self, generation: Generation, requests: Sequence[SearchRequest]) -> None:
        """What was taken out of a caller's scope must not be found in a version that lags."""
        if any(request.scope is not None for request in requests):
            self.serving.require_abreast(generation)

    def _next_page(
        self, corpus: str, resumed: Resumed, index_version: int | None
    ) -> SearchResponse:
        _require_same(resumed, index_version)
        request, draft = resumed.request, resumed.draft
        generation = self._kept(corpus, resumed.number)
        candidate = self._kept(corpus, draft.candidate) if draft is not None else None
        for kept in filter(None, (generation, candidate)):
            self._require_abreast(kept, [request])
        self._load_rerankers([request])
        with within(self.settings.search_timeout_s):
            if draft is None or candidate is None:
                return search(generation, self.store, request, self.rerankers)
            return search_interleaved(
                generation, candidate, self.store, request, draft.seed, self.rerankers
            )

    def _kept(self, corpus: str, number: int) -> Generation:
        """A version that a cursor goes on with. Raises CursorExpired where it is gone."""
        try:
            return self.serving.pinned(corpus, number)
        except (IndexVersionNotFound, SearchUnsupported) as error:
            raise CursorExpired(
                "The index version that the cursor goes on with has been dropped.",
                next_step="Search again without it, from the first page.",
            ) from error

    def follower(self) -> Follower:
        """A thread that keeps served generations and their indexes up to date; not yet started."""
        return Follower(self.serving, self.applier, self.leases, self.replicas)

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.database.close)
            stack.callback(self.store.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _require_same(resumed: Resumed, index_version: int | None) -> None:
    """Raise InvalidInput where a request pins another version than its cursor does."""
    if index_version is None or (index_version == resumed.number and resumed.draft is None):
        return
    goes_on = f"version {resumed.number}"
    if resumed.draft is not None:
        goes_on = f"versions {resumed.number} and {resumed.draft.candidate}, interleaved"
    raise InvalidInput(
        f"index_version is {index_version}, but the cursor goes on with {goes_on}.",
        next_step="Leave index_version out, or leave the cursor out to search that version from "
        "the first page.",
    )


def open_workspace(root: Path | str, *, command: str = "lockstep") -> Workspace:
    """Open the workspace in a folder; `command` is how this process is named to others.

    Raises InvalidSetting, DatabaseUnavailable or StoreUnavailable.
    """
    return assemble(load_settings(Path(root).absolute()), command=command)


def assemble(settings: Settings, *, command: str = "lockstep") -> Workspace:
    """Wire a workspace's parts together."""
    database = Database(settings.resolved_database_url())
    database.migrate()
    corpora = Corpora(database)
    artefacts = ArtefactStore(settings.resolved_artefacts_url())
    compiled = settings.query_encoder == "auto"
    compiler = QueryCompiler(CompiledFiles(artefacts)) if compiled else None
    models = ModelRegistry(database, artefacts, compiler)
    encoders = Encoders(
        models,
        artefacts,
        device=settings.device or None,
        queries=QueryOptions(compiler, settings.query_cache, settings.query_batch),
    )
    rerankers = Rerankers(models, artefacts, device=settings.device or None, compiler=compiler)
    store = open_store(settings, command)
    catalog = IndexCatalog(database)
    leases = Leases(database)
    prober = Prober(corpora, store, encode_batch=settings.encode_batch)
    applier = Applier(
        corpora,
        catalog,
        store,
        batch_documents=settings.batch_documents,
        encode_batch=settings.encode_batch,
    )
    replicas = Replicas(database, settings.resolved_local_key())
    query_sets = QuerySets(database)
    query_log = QueryLog(database, settings.query_log, settings.resolved_query_log_key())
    trials = Trials(database, catalog)
    gatekeeper = Gatekeeper(
        settings.gates,
        prober,
        store,
        catalog,
        replicas,
        Queries(corpora, query_sets, query_log),
    )
    rollouts = Rollouts(
        corpora,
        catalog,
        store,
        encoders,
        applier,
        leases,
        trials,
        gates=gatekeeper,
    )
    retirement = Retirement(
        catalog,
        store,
        leases,
        replicas,
        trials,
        reconcile=rollouts.reconcile,
        soak_s=settings.soak_hours * 3600,
    )
    return Workspace(
        settings=settings,
        database=database,
        keys=ApiKeys(database, partial(prefixed, prefix="metadata.")),
        corpora=corpora,
        artefacts=artefacts,
        models=models,
        encoders=encoders,
        rerankers=rerankers,
        store=store,
        catalog=catalog,
        leases=leases,
        replicas=replicas,
        applier=applier,
        prober=prober,
        query_sets=query_sets,
        query_log=query_log,
        trials=trials,
        gatekeeper=gatekeeper,
        rollouts=rollouts,
        retirement=retirement,
        repairer=Repairer(corpora, catalog, store, encoders, leases, applier, prober),
        serving=Serving(rollouts, encoders, store, prober),
    )


def open_store(settings: Settings, command: str) -> VectorStore:
    # Each engine is imported only where it is used: either may be absent from a small install.
    if settings.store_url:
        from lockstep.store.qdrant import connect
        from lockstep.store.qdrant_options import PATIENCE_S, ServerOptions

        key = settings.store_api_key
        # A server must be able to stop, and tries again at its next turn anyway.
        serves = command == "lockstep serve"
        return connect(
            ServerOptions(
                url=settings.store_url,
                api_key=key.get_secret_value() if key else None,
                grpc_port=settings.store_grpc_port,
                timeout_s=settings.store_timeout_s,
                search_timeout_s=settings.search_timeout_s,
                patience_s=settings.search_timeout_s if serves else PATIENCE_S,
                shards=settings.store_shards,
                replicas=settings.store_replicas,
                write_consistency=settings.store_write_consistency,
                on_disk=settings.store_on_disk,
            )
        )
    from lockstep.store.edge import EdgeStore

    return EdgeStore(settings.data / "index", command=command)
