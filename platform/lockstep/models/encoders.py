"""The encoders that a process has loaded, one per model version."""

import threading
from collections import OrderedDict
from weakref import WeakValueDictionary

from lockstep.models.artefacts import ArtefactStore
from lockstep.models.encoder import Encoder, QueryOptions
from lockstep.models.manifest import ModelKind
from lockstep.models.registry import ModelRegistry


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
        self._keep = keep
        self._queries = queries
        self._loaded: OrderedDict[str, Encoder] = OrderedDict()
        # What somebody still uses need not be loaded a second time.
        self._alive: WeakValueDictionary[str, Encoder] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, ref: str) -> Encoder:
        """The encoder of a model version, verified when it is loaded.

        Raises WrongModelKind for a reranker.
        """
        version = self._registry.resolve(ref)
        version.require(ModelKind.ENCODER)
        with self._lock:
            encoder = self._alive.get(version.digest)
            if encoder is None:
                encoder = Encoder.load(
                    version, self._artefacts, device=self._device, queries=self._queries
                )
            self._alive[version.digest] = self._loaded[version.digest] = encoder
            self._loaded.move_to_end(version.digest)
            while len(self._loaded) > self._keep:
                self._loaded.popitem(last=False)
        return encoder

    def verify(self, ref: str) -> None:
        """Raises ModelNotFound, ArtefactDamaged or ArtefactsUnavailable where `get` would."""
        self._artefacts.fetch(self._registry.resolve(ref).digest)
