"""The composition root: the one place that knows which parts a workspace is made of."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lockstep.corpus.change_log import Corpora
from lockstep.corpus.database import Database
from lockstep.gates.gatekeeper import Gatekeeper
from lockstep.index.applier import Applier
from lockstep.index.catalog import IndexCatalog
from lockstep.index.follower import Follower
from lockstep.index.leases import Leases
from lockstep.index.probe import Prober
from lockstep.index.replicas import Replicas
from lockstep.index.rollouts import Rollouts
from lockstep.index.serving import Serving
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.encoders import Encoders
from lockstep.models.registry import ModelRegistry
from lockstep.search.request import SearchRequest, SearchResponse
from lockstep.search.search import search
from lockstep.settings import Settings, load_settings
from lockstep.store.port import VectorStore


@dataclass(frozen=True)
class Workspace:
    """The parts of one workspace, wired together. Close it, or use it in a `with` block."""

    settings: Settings
    database: Database
    corpora: Corpora
    artefacts: ArtefactStore
    models: ModelRegistry
    encoders: Encoders
    store: VectorStore
    catalog: IndexCatalog
    leases: Leases
    replicas: Replicas
    applier: Applier
    prober: Prober
    rollouts: Rollouts
    serving: Serving

    def search(
        self, corpus: str, request: SearchRequest | str, *, index_version: int | None = None
    ) -> SearchResponse:
        """Search the live version of a corpus, or the version that `index_version` pins.

        Follows the alias: whatever was promoted last, by whichever process, answers.
        """
        if isinstance(request, str):
            request = SearchRequest(request)
        generation = (
            self.serving.current(corpus)
            if index_version is None
            else self.serving.pinned(corpus, index_version)
        )
        return search(generation, self.store, request)

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
    models = ModelRegistry(database, artefacts)
    encoders = Encoders(models, artefacts, device=settings.device or None)
    store = _open_store(settings, command)
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
    replicas = Replicas(database)
    rollouts = Rollouts(
        corpora,
        catalog,
        store,
        encoders,
        applier,
        leases,
        replicas,
        gates=Gatekeeper(prober, settings.gates),
        soak_s=settings.soak_hours * 3600,
    )
    return Workspace(
        settings=settings,
        database=database,
        corpora=corpora,
        artefacts=artefacts,
        models=models,
        encoders=encoders,
        store=store,
        catalog=catalog,
        leases=leases,
        replicas=replicas,
        applier=applier,
        prober=prober,
        rollouts=rollouts,
        serving=Serving(rollouts, encoders, store, prober),
    )


def _open_store(settings: Settings, command: str) -> VectorStore:
    # Each engine is imported only where it is used: either may be absent from a small install.
    if settings.store_url:
        from lockstep.store.qdrant import connect

        key = settings.store_api_key
        return connect(
            settings.store_url,
            api_key=key.get_secret_value() if key else None,
            timeout_s=settings.store_timeout_s,
            grpc_port=settings.store_grpc_port,
        )
    from lockstep.store.edge import EdgeStore

    return EdgeStore(settings.data / "index", command=command)
