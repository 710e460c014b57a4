"""The rerankers that a process has loaded, one per model version."""

import math
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field

from lockstep.errors import ModelNotFound, RerankerNotFound, Unavailable
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.manifest import ModelKind
from lockstep.models.query_compiler import QueryCompiler
from lockstep.models.registry import ModelRegistry, ModelVersion
from lockstep.models.reranker import Reranker
from lockstep.store.deadline import left_s

RETRY_S = 10.0


@dataclass(frozen=True)
class _Load:
    """One load, for all who wait for it; what has failed is told again for a while."""

    future: Future[Reranker] = field(default_factory=Future)
    began_at: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        failed = self.future.done() and self.future.exception() is not None
        return failed and time.monotonic() - self.began_at > RETRY_S


class Rerankers:
    """Finds rerankers by name, loads each once, and keeps the few used last. Safe in threads.

    A thread of its own loads each, so a search with a deadline waits no longer than that.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        artefacts: ArtefactStore,
        *,
        device: str | None = None,
        compiler: QueryCompiler | None = None,
        keep: int = 2,
    ) -> None:
        self._registry = registry
        self._artefacts = artefacts
        self._device = device
        self._compiler = compiler
        self._keep = keep
        self._found: dict[str, ModelVersion] = {}  # by name@version, which never changes
        self._loads: OrderedDict[str, _Load] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, ref: str) -> ModelVersion:
        """The version that `name@version`, or `name` for its newest, names.

        Raises RerankerNotFound or WrongModelKind.
        """
        if (known := self._found.get(ref)) is not None:
            return known
        try:
            version = self._registry.resolve(ref)
        except ModelNotFound as error:
            raise self._not_found(ref) from error
        version.require(ModelKind.RERANKER)
        if version.ref == ref:
            self._found[ref] = version
        return version

    def get(self, version: ModelVersion) -> Reranker:
        """The version in memory, verified when it is loaded.

        Raises Unavailable where that takes longer than the deadline leaves, else what loading
        raises: ArtefactDamaged, ModelRejected and others.
        """
        load = self._load_of(version)
        seconds = left_s()
        try:
            return load.future.result(None if math.isinf(seconds) else seconds)
        except TimeoutError as error:
            raise Unavailable(
                f"The reranker {version.ref} is still being loaded.",
                next_step="Try again in a moment, or search without rerank.",
            ) from error

    def _load_of(self, version: ModelVersion) -> _Load:
        with self._lock:
            load = self._loads.get(version.digest)
            if load is None or load.is_over:
                load = self._loads[version.digest] = _Load()
                name = f"load {version.ref}"
                threading.Thread(
                    target=self._run, args=(version, load.future), name=name, daemon=True
                ).start()
            self._loads.move_to_end(version.digest)
            while len(self._loads) > self._keep:
                self._loads.popitem(last=False)
        return load

    def _run(self, version: ModelVersion, future: Future[Reranker]) -> None:
        try:
            loaded = Reranker.load(
                version, self._artefacts, device=self._device, compiler=self._compiler
            )
            future.set_result(loaded)
        except BaseException as error:  # whoever waits must hear of it, whatever it is
            future.set_exception(error)

    def _not_found(self, ref: str) -> RerankerNotFound:
        known = [v.ref for v in self._registry.list() if v.kind is ModelKind.RERANKER]
        return RerankerNotFound(
            f"No reranker is '{ref}'. Known: {', '.join(known[-20:]) or 'none'}.",
            next_step="Add one: lockstep model add NAME PATH",
        )
