"""The encoders that a process has loaded, one per model version."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from lockstep.models.artefacts import ArtefactStore
from lockstep.models.encoder import Encoder, QueryOptions
from lockstep.models.manifest import ModelKind
from lockstep.models.registry import ModelRegistry
from lockstep.models.token_encoder import TokenEncoder

T = TypeVar("T")


class Encoders:
    """Loads each model version once and keeps the few used last.

    Live, candidate and retired versions are in use at the same time, hence three.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        artefacts: ArtefactStore,
        *,
        device: str | None = None,
        keep: int = 3,
        queries: QueryOptions | None = None,
    ) -> None:
        self._registry = registry
        self._artefacts = artefacts
        self._device = device
        self._queries = queries
        self._encoders: _Kept[Encoder] = _Kept(keep)
        self._token_encoders: _Kept[TokenEncoder] = _Kept(keep)

    def get(self, ref: str) -> Encoder:
        """The encoder of a model version, verified when it is loaded.

        Raises WrongModelKind for a model of another kind.
        """
        version = self._registry.resolve(ref)
        version.require(ModelKind.ENCODER)
        return self._encoders.get(
            version.digest,
            lambda: Encoder.load(
                version, self._artefacts, device=self._device, queries=self._queries
            ),
        )

    def tokens(self, ref: str) -> TokenEncoder:
        """The same for a late interaction model."""
        version = self._registry.resolve(ref)
        version.require(ModelKind.LATE_INTERACTION)
        return self._token_encoders.get(
            version.digest,
            lambda: TokenEncoder.load(version, self._artefacts, device=self._device),
        )

    def verify(self, ref: str) -> None:
        """Raises ModelNotFound, ArtefactDamaged or ArtefactsUnavailable where loading would."""
        self._artefacts.fetch(self._registry.resolve(ref).digest)


class _Kept(Generic[T]):
    """What was loaded, by digest: the few used last, and what somebody still uses."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._loaded: OrderedDict[str, T] = OrderedDict()
        # What somebody still uses need not be loaded a second time.
        self._alive: WeakValueDictionary[str, T] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, digest: str, load: Callable[[], T]) -> T:
        with self._lock:
            found = self._alive.get(digest)
            if found is None:
                found = load()
            self._alive[digest] = self._loaded[digest] = found
            self._loaded.move_to_end(digest)
            while len(self._loaded) > self._keep:
                self._loaded.popitem(last=False)
        return found
