"""The probe: proves that an index version holds its corpus, as its own model encodes it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lockstep.corpus.change_log import Corpora
from lockstep.errors import ProbeFailed
from lockstep.index.differences import AsOf, Differences, compare
from lockstep.index.generation import Generation
from lockstep.index.passages import Passage
from lockstep.index.rebuilding import reindex_command
from lockstep.index.samples import SampleReport, check_samples
from lockstep.store.port import Json, VectorStore

SAMPLES = 64
QUICK_SAMPLES = 8
_SEED = 20090719


@dataclass(frozen=True)
class ProbeReport:
    """What the probe measured, and what it found wrong; no problems means sound."""

    differences: Differences
    samples: SampleReport

    @property
    def documents(self) -> int:
        return self.differences.documents

    @property
    def points(self) -> int:
        return self.differences.points

    @property
    def content_problems(self) -> tuple[str, ...]:
        """What is missing, left over or out of date."""
        return self.differences.problems

    @property
    def problems(self) -> tuple[str, ...]:
        return (*self.content_problems, *self.samples.problems)

    def to_json(self) -> Json:
        return {
            "documents": self.documents,
            "points": self.points,
            **self.samples.to_json(),
            "problems": list(self.problems),
        }


@dataclass(frozen=True)
class Prober:
    """Checks index versions against their corpus and their model."""

    corpora: Corpora
    store: VectorStore
    encode_batch: int = 32

    def prove(self, generation: Generation, applied_seq: int) -> ProbeReport:
        """The report of `check`; raises ProbeFailed where it lists a problem."""
        report = self.check(generation, applied_seq)
        _raise_for(generation, report.problems)
        return report

    def glance(self, generation: Generation, lag: int) -> SampleReport:
        """Check a few samples only, in milliseconds; raises ProbeFailed.

        A server does this before it answers from a generation that was proven when it was promoted.
        `lag` is how many changes it has not applied: what changed since is not held against it.
        """
        passages = self._sample(generation, QUICK_SAMPLES, frozenset())
        report = check_samples(generation, self.store, passages, batch_size=self.encode_batch)
        _raise_for(generation, report.problems)
        if passages and not report.samples and not lag:
            _raise_for(generation, [f"None of {len(passages)} sampled passages is in it."])
        return report

    def check(
        self,
        generation: Generation,
        applied_seq: int,
        *,
        samples: int = SAMPLES,
        seed: int = _SEED,
    ) -> ProbeReport:
        """Compare every id and hash, then re-encode and search for a sample.

        Documents that changed after `applied_seq` are left out. Nobody may apply changes to the
        version meanwhile.
        """
        as_of = AsOf(generation.version.corpus, applied_seq)
        differences = compare(self.corpora, self.store, generation.collection, of=as_of)
        sampled = check_samples(
            generation,
            self.store,
            self._sample(generation, samples, differences.changed, seed),
            batch_size=self.encode_batch,
        )
        return ProbeReport(differences, sampled)

    def _sample(
        self, generation: Generation, count: int, changed: frozenset[str], seed: int = _SEED
    ) -> list[Passage]:
        """About `count` passages, of as many documents as there are to choose from."""
        documents = [
            document
            for document in self.corpora.sample(generation.version.corpus, count, seed)
            if document.id not in changed
        ]
        each = -(-count // max(1, len(documents)))
        draws = random.Random(seed)
        return [
            passage
            for document in documents  # one by one: a long one takes much memory to split
            for passages in generation.splitter.split([document])
            for passage in draws.sample(passages, min(each, len(passages)))
        ]


def _raise_for(generation: Generation, problems: Sequence[str]) -> None:
    if problems:
        command = reindex_command(generation.version, generation.encoder.version.manifest)
        raise ProbeFailed(
            f"Index {generation.collection} is not sound. {' '.join(problems)}",
            next_step=f"Build it anew: {command}",
        )
