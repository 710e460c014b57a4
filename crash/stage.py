"""What an episode runs on: a workspace, and the database and engine behind it."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import postgresql_server
from actions import add_model, document
from qdrant_stand_in import StandIn, running_stand_in

from crash.oracle import Oracle
from crash.plan import DOCUMENTS, MODELS, Target
from lockstep.bootstrap import open_workspace
from lockstep.index.spec import SpecOptions
from lockstep.settings import init_workspace
from lockstep_indexer.build.reindex import reindex

SQLITE, POSTGRESQL = "sqlite", "postgresql"
EMBEDDED, STAND_IN = "embedded", "stand-in"

# Random models differ in quality by chance; what a crash must not break is completeness and
# identity. With no soak time, gc drops what is retired.
_GATES = """
[gates]
identity_samples = 32
health = false
quality = false
drift = false
latency = false
prefilter = false
"""


@dataclass(frozen=True)
class Setup:
    """Which database and which engine a run uses."""

    database: str = SQLITE  # or postgresql
    engine: str = EMBEDDED  # or stand-in, or the URL of a Qdrant server

    @property
    def embedded(self) -> bool:
        return self.engine == EMBEDDED

    @property
    def restartable(self) -> frozenset[Target]:
        """What the harness may kill besides Lockstep's own processes."""
        found = {Target.ENGINE} if self.engine in (EMBEDDED, STAND_IN) else set()
        return frozenset(found | ({Target.DATABASE} if self.database == POSTGRESQL else set()))


@dataclass
class Stage:
    """One workspace with a first version live, and its servers."""

    root: Path
    corpus: str
    postgresql: postgresql_server.Server | None
    stand_in: StandIn | None

    def first_state(self) -> Oracle:
        """Fill the corpus, register the models, make a first version live."""
        with open_workspace(self.root) as workspace:
            written = [document(number) for number in range(0, DOCUMENTS, 2)]
            workspace.corpora.create(self.corpus)
            workspace.corpora.write(self.corpus, written)
            for seed in range(MODELS):
                add_model(workspace, self.root / f"model-{seed}", seed=seed)
            model = workspace.models.resolve("tiny@1")
            built = reindex(workspace, self.corpus, model, SpecOptions(), promote=True)
        return Oracle(
            documents=[{each.id: each.content_hash for each in written}],
            live={built.version.number},
            known_ids={each.id for each in written},
        )

    def kill_database(self, *, immediate: bool) -> None:
        """End PostgreSQL at once, by its own means or by the kernel's, and start it again."""
        assert self.postgresql is not None
        if immediate:
            self.postgresql.stop(signal.SIGQUIT)
        else:
            self.postgresql.kill()
        self.postgresql.start()

    def kill_stand_in(self) -> None:
        assert self.stand_in is not None
        self.stand_in.kill()
        self.stand_in.start()

    def drop_collections(self) -> None:
        """Leave a Qdrant server that others use as it was found."""
        with open_workspace(self.root) as workspace:
            for version in workspace.catalog.versions(self.corpus):
                if version.collection != workspace.store.aliases().get(self.corpus):
                    workspace.store.drop(version.collection)


_NUMBERS = count(1)


class Theatre:
    """Makes stages; the PostgreSQL server is the same for all of them."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self.setup = setup
        self._folder = folder
        self._closing = ExitStack()
        self._postgresql: postgresql_server.Server | None = None
        if setup.database == POSTGRESQL:
            binaries = postgresql_server.binaries()
            if binaries is None:
                raise SystemExit("No PostgreSQL is installed (Debian: apt install postgresql).")
            self._postgresql = self._closing.enter_context(
                postgresql_server.running_server(binaries)
            )

    def close(self) -> None:
        self._closing.close()

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """A fresh workspace. Its folder is removed by `discard`, so that a failure leaves it."""
        root = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._folder))
        with ExitStack() as stack:
            lines = ["batch_documents = 8", "soak_hours = 0", "port = 0"]
            if self._postgresql is not None:
                url = stack.enter_context(
                    postgresql_server.fresh_database(
                        self._postgresql.url, f"crash-{next(_NUMBERS)}"
                    )
                )
                lines.append(f'database_url = "{url}"')
            stand_in = None
            if self.setup.engine == STAND_IN:
                (root / "stand-in").mkdir()
                stand_in = stack.enter_context(running_stand_in(root / "stand-in"))
                lines += [f'store_url = "{stand_in.url}"', "store_grpc_port = 0"]
            elif not self.setup.embedded:
                lines.append(f'store_url = "{self.setup.engine}"')
            init_workspace(root)
            (root / "lockstep.toml").write_text("\n".join(lines) + "\n" + _GATES)
            # On a server that is shared, no other run may have a corpus of this name.
            stage = Stage(root, root.name.lower(), self._postgresql, stand_in)
            yield stage
            if not self.setup.embedded and stand_in is None:
                stage.drop_collections()

    def discard(self, stage: Stage) -> None:
        shutil.rmtree(stage.root)
