"""A build by the engine of one machine: the same points as one by one, whatever ends it early."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from actions import add_model, document, fill, fork_server, run_fast_reindex
from builds import MANY, applied, assert_same, begun, contents, drawn_ahead
from workspaces import CORPUS, new_root

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Change
from lockstep.errors import EncodingFailed, InvalidInput
from lockstep.index.applier import Progress
from lockstep.index.generation import Generation
from lockstep.index.passages import Passage
from lockstep.index.spec import SpecOptions
from lockstep.index.stages import STAGES
from lockstep.models.encoder import Encoder
from lockstep.models.loading import load_model
from lockstep.models.vectors import Vector
from lockstep_indexer.build.plan import plan
from lockstep_indexer.build.reindex import Listener, _applied, reindex
from lockstep_indexer.encode.passage_encoder import PassageEncoder
from lockstep_indexer.encode.routes import Check
from lockstep_indexer.encode.tokenizing import NotPlainTokens
from lockstep_indexer.encode.tokens import Tokens
from lockstep_indexer.engines import choosing
from lockstep_indexer.engines.encoding import ByLibrary, ByTokens, Encoding
from lockstep_indexer.engines.local import LocalEngine

DOCUMENTS, BATCH = 48, 6
BROKEN = 3  # the batch in which something breaks, from 1
THREADS = ("lockstep reader", "lockstep tokenizer", "lockstep encoder", "lockstep points")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local-engine")


@pytest.fixture(scope="module")
def workspace(folder: Path) -> Iterator[Workspace]:
    with open_workspace(new_root(folder / "workspace", batch_documents=BATCH)) as workspace:
        fill(workspace, CORPUS, range(DOCUMENTS))
        workspace.corpora.write(CORPUS, deletes=["doc-3", "doc-30"])
        add_model(workspace, folder / "model", seed=1)
        yield workspace


@pytest.fixture(scope="module")
def fast(workspace: Workspace, folder: Path) -> ByTokens:
    manifest = workspace.models.resolve("tiny@1").manifest
    model = load_model(folder / "model", device="cpu")
    return ByTokens(PassageEncoder.choose(model, manifest, device="cpu"))


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in THREADS]


def test_the_points_are_those_of_one_by_one(workspace: Workspace, fast: Encoding) -> None:
    seen: list[Progress] = []
    ours, theirs = begun(workspace), begun(workspace)
    done = applied(workspace, ours, LocalEngine(fast, 32, BATCH), report=seen.append)
    plain = applied(workspace, theirs, None)
    assert (done.documents, done.deleted, done.passages) == (DOCUMENTS - 2, 2, plain.passages)
    assert [each.applied_seq for each in seen] == sorted({each.applied_seq for each in seen})
    assert done.stage_s.keys() == set(STAGES)
    assert done.tokens > done.passages
    found, expected = contents(workspace, ours), contents(workspace, theirs)
    assert found.keys() == expected.keys()
    for key, record in found.items():
        other = expected[key]
        assert record.payload == other.payload
        assert record.bm25 is not None
        assert other.bm25 is not None
        np.testing.assert_array_equal(record.bm25.values, other.bm25.values)
        assert record.dense is not None
        assert other.dense is not None
        assert np.dot(record.dense, other.dense) > 0.999


def test_what_is_written_during_a_build_is_encoded_the_same_way(
    workspace: Workspace, fast: Encoding
) -> None:
    """As long as there is a batch of it; the rest is caught up with before a promotion."""
    head = workspace.corpora.head_seq(CORPUS)
    written: list[int] = []
    seen: list[Progress] = []

    def progress(now: Progress) -> None:
        seen.append(now)
        if now.applied_seq == now.head_seq and len(written) < 2:
            written.append(BATCH if not written else BATCH - 1)
            changed = [document(number, revision=7) for number in range(10, 10 + written[-1])]
            workspace.corpora.write(CORPUS, changed)

    generation, listener = begun(workspace), Listener(progress=progress)
    with workspace.leases.hold(generation.collection) as lease:
        done = _applied(workspace, generation, lease, listener, LocalEngine(fast, 32, BATCH))
    assert written == [BATCH, BATCH - 1]
    assert workspace.catalog.get(CORPUS, generation.version.number).applied_seq == head + BATCH
    assert done == seen[-1]
    assert (done.documents, done.deleted) == (DOCUMENTS - 2 + BATCH, 2)
    assert [each.documents for each in seen] == sorted({each.documents for each in seen})


def test_the_next_model_with_the_tokenizer_finds_its_tokens_made(
    workspace: Workspace, fast: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "WORTH_ON_CPU", 0.0)

    def planned() -> float | None:
        return plan(workspace, CORPUS, "tiny@1", SpecOptions(prefilter_dim=8), timed_s=0).known

    assert planned() == 0
    built: list[Generation] = []
    known: list[int | None] = []
    for _ in range(2):
        built.append(begun(workspace))
        engine = choosing.local_engine(workspace, built[-1])
        known.append(applied(workspace, built[-1], engine).known)
    assert known == [0, DOCUMENTS - 2]
    assert planned() == 1
    without = begun(workspace)
    assert applied(workspace, without, LocalEngine(fast, 32, BATCH)).known is None
    expected = contents(workspace, without)
    for generation in built:
        assert_same(contents(workspace, generation), expected)


@pytest.mark.parametrize("kind", ["by tokens", "by the library"])
def test_a_build_in_many_runs_gives_the_same_bits(
    kind: str, workspace: Workspace, fast: Encoding
) -> None:
    def engine(generation: Generation) -> LocalEngine:
        library = ByLibrary(generation.encoder, batch_size=32, why="asked for")
        return LocalEngine(fast if kind == "by tokens" else library, 32, BATCH)

    whole, pieces = begun(workspace), begun(workspace)
    applied(workspace, whole, engine(whole))
    runs = 0
    while workspace.applier.lag(CORPUS, pieces.version.number):
        runs += 1
        applied(workspace, pieces, engine(pieces), keep_going=iter([True, False]).__next__)
        assert running() == []
    assert runs == 4
    assert_same(contents(workspace, whole), contents(workspace, pieces))


@dataclass
class Broken:
    """Encodes like `encoding`, until a batch at which one of its steps fails."""

    encoding: Encoding
    step: str
    told: str = "broken"
    in_fp8: bool = False
    calls: int = 0

    def tokens(self, passages: Sequence[Passage]) -> Tokens | None:
        self._step("tokens")
        return self.encoding.tokens(passages)

    def vectors(self, passages: Sequence[Passage], tokens: Tokens | None, check: Check) -> Vector:
        self._step("encode")
        return self.encoding.vectors(passages, tokens, check)

    def least_s(self, tokens: Tokens | None) -> float:
        self._step("points")
        return 0.0

    def _step(self, step: str) -> None:
        self.calls += step == self.step
        if self.calls == BROKEN and step == self.step:
            raise EncodingFailed(f"{step} broke")


@dataclass
class BrokenStore:
    """A store whose third upsert fails."""

    store: Any
    upserts: int = 0

    def upsert(self, *arguments: Any, **options: Any) -> None:
        self.upserts += 1
        if self.upserts == BROKEN:
            raise EncodingFailed("write broke")
        self.store.upsert(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass
class BrokenSplitter:
    splitter: Any
    calls: int = 0

    def split(self, documents: Any) -> Any:
        self.calls += 1
        if self.calls == BROKEN:
            raise EncodingFailed("split broke")
        return self.splitter.split(documents)


@dataclass
class BrokenLog:
    corpora: Any
    calls: int = 0

    def changes(self, *arguments: Any, **options: Any) -> list[Change]:
        self.calls += 1
        if self.calls == BROKEN:
            raise EncodingFailed("read broke")
        changes: list[Change] = self.corpora.changes(*arguments, **options)
        return changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.corpora, name)


@pytest.mark.parametrize("stage", STAGES)
def test_what_fails_is_raised_after_the_batches_before_it(
    stage: str, workspace: Workspace, fast: Encoding
) -> None:
    generation = begun(workspace)
    if stage == "split":
        broken: Any = BrokenSplitter(generation.splitter)
        generation = replace(generation, splitter=broken)
    applier = workspace.applier
    if stage == "read":
        log: Any = BrokenLog(workspace.corpora)
        applier = replace(applier, corpora=log)
    if stage == "write":
        store: Any = BrokenStore(workspace.store)
        applier = replace(applier, store=store)
    engine = LocalEngine(Broken(fast, stage), 32, BATCH)
    with (
        pytest.raises(EncodingFailed, match=f"{stage} broke"),
        workspace.leases.hold(generation.collection) as lease,
    ):
        applier.apply(generation, lease, engine=engine)
    assert running() == []
    version = workspace.catalog.get(CORPUS, generation.version.number)
    before = workspace.corpora.changes(CORPUS, 0, limit=(BROKEN - 1) * BATCH)
    assert version.applied_seq == before[-1].seq
    workspace.store.release(generation.collection)


def test_the_reader_is_never_further_ahead_than_it_may(
    workspace: Workspace, fast: Encoding
) -> None:
    changes = workspace.corpora.changes(CORPUS, 0, limit=BATCH)
    engine = LocalEngine(fast, 32, BATCH)
    assert drawn_ahead(engine, begun(workspace), changes) == engine.most_ahead < MANY
    assert running() == []


def test_closing_ends_an_encoding_between_two_of_its_batches(
    workspace: Workspace, fast: Encoding
) -> None:
    """A batch of documents may keep a processor busy for minutes."""
    began, quick = threading.Event(), iter([True])

    @dataclass
    class Endless(Broken):
        def vectors(
            self, passages: Sequence[Passage], tokens: Tokens | None, check: Check
        ) -> Vector:
            def checked() -> None:
                began.set()
                check()

            if next(quick, False):
                return self.encoding.vectors(passages, tokens, check)
            while True:
                self.encoding.vectors(passages, tokens, checked)

    changes = workspace.corpora.changes(CORPUS, 0, limit=BATCH)
    engine = LocalEngine(Endless(fast, "none"), 32, BATCH)
    building = engine.build(begun(workspace), iter([changes, changes]))
    next(building)
    assert began.wait(30)
    building.close()
    assert running() == []


@pytest.mark.slow
def test_a_killed_build_goes_on_with_the_same_bits(
    workspace: Workspace, fast: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its encoder is chosen and compiled anew, with less left to encode."""
    monkeypatch.setattr(choosing, "WORTH_ON_CPU", 0.0)
    model = workspace.models.resolve("tiny@1")
    before = len(workspace.catalog.versions(CORPUS))
    root = workspace.settings.data.parent
    process = fork_server().Process(target=run_fast_reindex, args=(root, CORPUS, "tiny@1", 3))
    process.start()
    process.join()
    assert process.exitcode == -9
    (killed,) = workspace.catalog.versions(CORPUS)[before:]
    assert 0 < killed.applied_seq < workspace.corpora.head_seq(CORPUS)
    done = reindex(workspace, CORPUS, model, SpecOptions())
    assert (done.resumed, done.version.number) == (True, killed.number)
    assert "cosine" in done.encoded_by
    whole, resumed = (
        begun(workspace, killed.spec),
        Generation.load(done.version, workspace.encoders),
    )
    applied(workspace, whole, choosing.local_engine(workspace, whole))
    assert_same(contents(workspace, whole), contents(workspace, resumed))


def test_a_card_that_leaves_a_model_to_the_processor_is_not_built_for(
    workspace: Workspace, fast: ByTokens, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither batches of a card's size, nor shares of its ceiling, which is not even measured."""
    generation = begun(workspace)
    monkeypatch.setattr(Encoder, "device", "cuda:0")
    monkeypatch.setattr(choosing, "encoding_for", lambda *_, **__: fast)
    assert choosing.local_engine(workspace, generation).batch_documents == BATCH

    def on_processor(*_: Any, **__: Any) -> PassageEncoder:
        return fast._encoder

    def measured(device: str) -> float:
        raise AssertionError(f"the ceiling of {device} was measured")

    monkeypatch.setattr(PassageEncoder, "choose", on_processor)
    monkeypatch.setattr(choosing, "matmul_ceiling", measured)
    model, manifest = load_model(folder / "model"), generation.encoder.version.manifest
    assert choosing.by_tokens(model, manifest, "cuda:0").least_s(Tokens.of([[2, 3]])) == 0


class InFp8(ByLibrary):
    """As far as a build can see."""

    in_fp8 = True


def test_only_eight_bits_that_were_used_loosen_what_checks_ask_for(workspace: Workspace) -> None:
    """A build that goes on by another route keeps what was encoded in them."""
    model, options = workspace.models.resolve("tiny@1"), SpecOptions(fp8=True, language="german")

    def coarse(workspace: Workspace, generation: Generation) -> LocalEngine:
        encoding = InFp8(generation.encoder, batch_size=32, why="")
        return LocalEngine(encoding, 32, BATCH)

    def broken(progress: Progress) -> None:
        raise InvalidInput("the build ends here")

    exact = reindex(workspace, CORPUS, model, options)
    assert (exact.version.encoded_in_fp8, exact.version.min_cosine) == (False, 0.999)
    listener = Listener(progress=broken)
    with pytest.raises(InvalidInput, match="ends here"):
        reindex(workspace, CORPUS, model, options, listener=listener, make_engine=coarse)
    resumed = reindex(workspace, CORPUS, model, options)
    assert resumed.resumed
    assert (resumed.version.encoded_in_fp8, resumed.version.min_cosine) == (True, 0.98)


def test_a_small_corpus_is_left_to_the_library(workspace: Workspace, tmp_path: Path) -> None:
    assert "too little to encode" in _told(workspace, begun(workspace))


def test_what_reads_more_than_tokens_is_left_to_the_library(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "WORTH_ON_CPU", 0.0)

    def refused(*_: Any, **__: Any) -> None:
        raise NotPlainTokens("it reads colours")

    monkeypatch.setattr(choosing, "load_model", refused)
    assert "it reads colours" in _told(workspace, begun(workspace))


def _told(workspace: Workspace, generation: Generation) -> str:
    return choosing.local_engine(workspace, generation).told
