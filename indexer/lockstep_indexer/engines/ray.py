"""The engine of many machines and cards: Ray workers encode, this process reads and writes."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from lockstep.bootstrap import Workspace
from lockstep.corpus.documents import Change
from lockstep.index.engine import Built, documents_of, read
from lockstep.index.generation import Generation
from lockstep.index.stages import POINTS
from lockstep.settings import Settings
from lockstep_indexer.engines.ahead import Ahead
from lockstep_indexer.engines.choosing import (
    CARD_DOCUMENTS,
    TOO_LITTLE,
    WORTH_COMPILING,
    is_worth_choosing,
    local_engine,
    whole_work,
)
from lockstep_indexer.engines.local import WAITING
from lockstep_indexer.engines.port import BuildEngine, MakeEngine
from lockstep_indexer.engines.ray_cluster import Cluster, RayOptions, Shape, library
from lockstep_indexer.engines.ray_pool import IN_FLIGHT, Batch, RayPool
from lockstep_indexer.engines.ray_worker import Encoded, Work


@dataclass(frozen=True)
class RayEngine:
    """Batches are cut, tokenized and encoded by the workers of a pool, several at once.

    Which worker takes a batch, and how often, makes no difference to its bits.
    """

    cluster: Cluster
    pool: RayPool
    shape: Shape
    batch_documents: int
    encodes: str
    in_fp8: bool
    waiting: int = WAITING

    @property
    def told(self) -> str:
        told = f"{self.shape}: {self.encodes}"
        lost = self.pool.lost
        return f"{told}; {lost} lost, whose batches others did again" if lost else told

    @property
    def most_ahead(self) -> int:
        """The batches that may be read and not yet written, the one that is being written too."""
        in_hand = 3  # of the reader, of who makes points, of the fold
        return IN_FLIGHT * self.pool.size + 3 * self.waiting + in_hand

    def build(
        self, generation: Generation, batches: Iterator[Sequence[Change]]
    ) -> Generator[Built, None, None]:
        with closing(Ahead(self.waiting)) as ahead:
            batch = ahead.run("reader", read(batches))
            encoded = ahead.run("workers", self.pool.encoded(batch, ahead.check))
            yield from ahead.run("points", self._built(generation, encoded))

    def close(self) -> None:
        """End the workers, and a Ray that was started for them."""
        self.pool.close()
        self.cluster.close()

    def _built(
        self, generation: Generation, batches: Iterator[tuple[Batch, Encoded]]
    ) -> Iterator[Built]:
        for (changes, timings), encoded in batches:
            # As many work at once: together they are one stage, and their cards one card.
            share = 1 / self.pool.size
            timings.add({stage: s * share for stage, s in encoded.timings.seconds.items()})
            with timings.of(POINTS):
                documents = documents_of(changes)
                passages = [
                    passage
                    for windows, document in zip(encoded.windows, documents, strict=True)
                    for passage in windows.passages(document)
                ]
                points = (generation.points_of(passages, encoded.vectors),) if passages else ()
            yield Built(
                changes,
                passages,
                points,
                timings,
                tokens=encoded.tokens,
                least_s=encoded.least_s * share,
            )


def ray_engine(
    workspace: Workspace, generation: Generation, options: RayOptions | None = None
) -> BuildEngine:
    """For a build of a whole corpus, by the workers of a Ray cluster, which are started.

    An index with vectors of tokens is built by this process, as those would take longer to send
    than to encode. Raises WorkersUnavailable, and whatever keeps a worker from loading the model.
    """
    options = options or RayOptions()
    if generation.tokens is not None:
        return local_engine(workspace, generation)
    cluster = Cluster.connect(options.address)
    try:
        shape = cluster.shape(options.workers, workspace.settings.device)
        pool = RayPool(cluster, _work(workspace, generation, shape), shape)
        loaded = pool.start()
    except BaseException:
        cluster.close()
        raise
    batch = workspace.settings.batch_documents
    if loaded.by_tokens_on_card:
        batch = max(batch, CARD_DOCUMENTS)
    return RayEngine(cluster, pool, shape, batch, loaded.told, loaded.in_fp8)


def by_ray(options: RayOptions) -> MakeEngine:
    """Raises LockstepError where Ray is not installed: before a model is loaded."""
    library()
    return partial(ray_engine, options=options)


@contextmanager
def joined(options: RayOptions, settings: Settings) -> Iterator[None]:
    """Have this process join Ray, with room for the workers; an engine that is made meanwhile uses
    it. Raises WorkersUnavailable, InvalidSetting or InvalidInput.
    """
    with closing(Cluster.connect(options.address)) as cluster:
        cluster.shape(options.workers, settings.device)
        yield


def _work(workspace: Workspace, generation: Generation, shape: Shape) -> Work:
    settings, version = workspace.settings, generation.version
    model = generation.encoder.version
    work = whole_work(workspace, version.corpus, model.manifest)
    worth = is_worth_choosing(work, on_card=shape.on_card)
    return Work(
        artefacts_url=settings.resolved_artefacts_url(),
        model=model,
        window_tokens=version.spec.window_tokens,
        encode_batch=settings.encode_batch,
        device="cuda" if shape.on_card else settings.device or "cpu",
        threads=None if shape.on_card else shape.cores,
        library="" if worth else TOO_LITTLE,
        compile=work / shape.workers >= WORTH_COMPILING,
        fp8=version.spec.fp8,
    )
