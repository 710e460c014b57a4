"""Retirement: a retired version soaks before it is dropped; failed and abandoned ones do not."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lockstep.errors import CollectionDamaged, CollectionInUse, LeaseHeld, StillServed
from lockstep.failpoints import reached
from lockstep.index.catalog import IndexCatalog
from lockstep.index.leases import Leases
from lockstep.index.replicas import Replicas
from lockstep.index.trials import Trials
from lockstep.index.versions import IndexVersion, State
from lockstep.store.port import VectorStore


@dataclass(frozen=True)
class Collected:
    """What a garbage collection dropped, and which retired versions soak on."""

    dropped: list[IndexVersion]
    soaking: list[IndexVersion]


@dataclass(frozen=True)
class Retirement:
    """Drops index versions that are no longer needed, with their points."""

    catalog: IndexCatalog
    store: VectorStore
    leases: Leases
    replicas: Replicas
    trials: Trials
    reconcile: Callable[[str], object]  # makes the catalog agree with a corpus's alias
    soak_s: float  # how long a retired version stays ready for a rollback
    wait_s: float = 30.0  # for another process to let go of a version

    def droppable(self, corpus: str, *, soaked: bool = True) -> list[IndexVersion]:
        """What `drop` would take: failed and abandoned versions, and retired ones that have soaked.

        With `soaked` False retired ones are taken however fresh they are.
        """
        self.reconcile(corpus)
        unused = self.catalog.in_state(corpus, State.RETIRED, State.FAILED, State.BUILDING)
        return [v for v in unused if not (soaked and self.is_soaking(v))]

    def soaks_for(self, version: IndexVersion) -> float:
        """The seconds for which a retired version must still stay ready for a rollback, from 0."""
        if version.state is not State.RETIRED or version.retired_at is None:
            return 0.0
        return max(0.0, version.retired_at + self.soak_s - time.time())

    def is_soaking(self, version: IndexVersion) -> bool:
        return self.soaks_for(version) > 0

    def drop(self, corpus: str, *, soaked: bool = True) -> Collected:
        """Drop what `droppable` lists; the live version, candidates and soaking ones stay.

        Verified: no server answers from what is dropped, its points are gone, and the alias still
        names a collection that is there. Raises StillServed or CollectionDamaged.
        """
        with self.leases.hold(f"rollout of {corpus}"):  # no swap meanwhile
            dropped = [v for v in self.droppable(corpus, soaked=soaked) if self._drop(v)]
            # Also ends what a crash between catalog and store left of an earlier drop.
            for version in self.catalog.in_state(corpus, State.DROPPED):
                self._drop_collection(version)
            self._verify_live(corpus)
            soaking = [v for v in self.catalog.versions(corpus) if self.is_soaking(v)]
            return Collected(dropped, soaking)

    def _drop(self, version: IndexVersion) -> bool:
        """Mark a version as dropped, unless a process is still building it."""
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                with self.leases.hold(version.collection):
                    # A build may have ended since the version was read.
                    state = self.catalog.get(version.corpus, version.number).state
                    if state in (State.LIVE, State.CANDIDATE):
                        return False
                    self.catalog.set_state(version, State.DROPPED, reason=version.reason)
                break
            except LeaseHeld:
                if version.state is State.BUILDING:
                    return False
                if time.monotonic() > deadline:  # a server applies to a retired one now and then
                    raise
            time.sleep(0.1)
        self.trials.end(version.corpus, f"{version.label} is dropped.", number=version.number)
        self.catalog.record(version.corpus, "drop", "done", from_version=version.number)
        return True

    def _drop_collection(self, version: IndexVersion) -> None:
        """Delete the points, once every server that has them open has let go of them."""
        deadline = time.monotonic() + self.wait_s
        while version.collection in self.store.collections():
            try:
                self._require_unserved(version)
                reached("before the drop")
                self.store.drop(version.collection)
            except (CollectionInUse, StillServed):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self.leases.forget(version.collection)

    def _require_unserved(self, version: IndexVersion) -> None:
        """On a server of its own, no lock keeps a collection from being dropped under searches."""
        servers = [
            replica
            for replica in self.replicas.serving(version.corpus)
            if replica.collection == version.collection
        ]
        if servers:
            raise StillServed(
                f"{version.collection} still answers searches on {servers[0].holder.host}, process "
                f"{servers[0].holder.pid}.",
                next_step="See why that server does not follow the alias: its /readyz says.",
            )

    def _verify_live(self, corpus: str) -> None:
        alias, collections = self.store.aliases().get(corpus), self.store.collections()
        if alias is not None and alias not in collections:
            raise CollectionDamaged(
                f"The alias '{corpus}' names '{alias}', which is not in the vector store.",
                next_step="Find out more: lockstep doctor",
            )
