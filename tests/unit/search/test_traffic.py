"""Who answers a search while a version is on trial, and what is counted and kept of it."""

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep.corpus.query_log import LoggedSearch
from lockstep.errors import EncodingFailed, InvalidInput, SearchUnsupported, StoreUnavailable
from lockstep.index.trial_counts import Counts
from lockstep.index.trial_watch import OnTrial
from lockstep.index.trials import Arm, Exposure, Trial, TrialState
from lockstep.search.cursor import resume
from lockstep.search.highlights import HighlightChoice
from lockstep.search.request import Hit, SearchRequest, SearchResponse, Timings
from lockstep.search.shadow import Copy, Quiet, Shadow
from lockstep.search.traffic import Traffic
from lockstep.store.deadline import left_s, within
from lockstep.store.port import Json

LIVE, CANDIDATE = "docs--v0001", "docs--v0002"
RERANKERS: Any = "what every search is given to rerank with"
BOTH = [Exposure(canary=0.95), Exposure(interleave=1.0)]

Search = Callable[[str, SearchRequest], SearchResponse]


def response(collection: str, ms: float = 2.0) -> SearchResponse:
    hit = Hit(f"{collection}-p", f"{collection}-d", 1.0, "", "", {})
    return SearchResponse([hit], collection, "m@1", Timings(0.0, ms, ms))


class Stage:
    """A real Traffic on generations whose searches a test plays; every key meets the candidate."""

    def __init__(self, exposure: Exposure, *, sampled: bool = False) -> None:
        trial = Trial(1, "docs", 2, 1, TrialState.RUNNING, exposure, None, "me", 0.0, None)
        self.on_trial = OnTrial(trial)
        self.on_trial.open(generation(CANDIDATE, 2))
        self.kept: list[LoggedSearch] = []
        self.key = next(
            key
            for key in map(str, itertools.count())
            if trial.arm(trial.place(key)) is not Arm.LIVE
        )
        live = generation(LIVE, 1)
        log: Any = SimpleNamespace(is_sampled=lambda: sampled, offer=self._keep)
        parts: Any = SimpleNamespace(
            current=lambda corpus: live, on_trial=lambda corpus: self.on_trial
        )
        nothing: Any = None
        self.traffic = Traffic(parts, nothing, parts, nothing, Quiet(), log, RERANKERS)

    def _keep(self, entry: LoggedSearch) -> bool:
        self.kept.append(entry)
        return True

    def answer(self, query: str = "red", *, scope: Json | None = None) -> Any:
        return self.traffic.answer("docs", SearchRequest(query, scope=scope), self.key)

    @property
    def counts(self) -> Counts:
        return self.on_trial.counted()


def generation(collection: str, number: int) -> Any:
    return SimpleNamespace(collection=collection, version=SimpleNamespace(number=number))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Search], None]:
    """Says what a search on a collection does."""

    def play(search: Search) -> None:
        monkeypatch.setattr(
            "lockstep.search.traffic.search",
            lambda generation, store, request, rerankers: search(
                {RERANKERS: generation.collection}[rerankers], request
            ),
        )

    return play


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("lockstep.store.deadline.time", clock)
    return clock


@pytest.mark.parametrize("exposure", BOTH)
@pytest.mark.parametrize(("given_s", "left"), [(5.0, 4.0), (0.5, 0.25)])
def test_a_candidate_that_hangs_leaves_live_the_time_to_answer(
    play: Callable[[Search], None],
    clock: SimpleNamespace,
    exposure: Exposure,
    given_s: float,
    left: float,
) -> None:
    def search(collection: str, request: SearchRequest) -> SearchResponse:
        if collection == CANDIDATE:
            clock.now += left_s()
            raise StoreUnavailable("It did not answer in time.")
        assert left_s() == pytest.approx(left)
        return response(collection)

    play(search)
    stage = Stage(exposure)

    with within(given_s):
        answer = stage.answer()

    assert (answer.arm, answer.response.index_version) == (Arm.LIVE, LIVE)
    assert stage.counts.candidate.failed + stage.counts.interleaved.failed == 1


@pytest.mark.parametrize("exposure", BOTH)
def test_what_fails_on_live_as_well_is_not_held_against_the_candidate(
    play: Callable[[Search], None], exposure: Exposure
) -> None:
    def search(collection: str, request: SearchRequest) -> SearchResponse:
        raise StoreUnavailable("The store is away.")

    play(search)
    stage = Stage(exposure)

    with pytest.raises(StoreUnavailable):
        stage.answer()

    assert stage.counts.candidate.failed == stage.counts.interleaved.failed == 0
    assert stage.counts.live.failed == 1


def test_a_search_that_the_candidate_refuses_is_no_failure(play: Callable[[Search], None]) -> None:
    def search(collection: str, request: SearchRequest) -> SearchResponse:
        if collection == CANDIDATE:
            raise InvalidInput("No such vector.")
        return response(collection)

    play(search)
    stage = Stage(BOTH[0])

    assert stage.answer().arm is Arm.LIVE
    assert stage.counts.candidate.failed == 0


def test_no_word_of_a_query_reaches_the_log(
    play: Callable[[Search], None], caplog: pytest.LogCaptureFixture
) -> None:
    def search(collection: str, request: SearchRequest) -> SearchResponse:
        if collection == CANDIDATE:
            raise EncodingFailed(f"NaN for {request.query!r}.")
        return response(collection)

    play(search)
    with caplog.at_level(logging.DEBUG):
        Stage(BOTH[0]).answer("zyxwvu")

    assert "live answered instead of v2: EncodingFailed" in caplog.text
    assert "zyxwvu" not in caplog.text


def test_both_parts_of_an_interleaved_answer_are_timed(play: Callable[[Search], None]) -> None:
    play(lambda collection, request: response(collection, 400.0 if collection == CANDIDATE else 3))
    stage = Stage(BOTH[1])

    assert stage.answer().arm is Arm.INTERLEAVED

    counts = stage.counts
    assert counts.theirs.quantile(0.5) == pytest.approx(400, rel=0.03)
    assert counts.ours.quantile(0.5) == pytest.approx(3, rel=0.03)
    assert (counts.live.answered, counts.candidate.answered, counts.interleaved.answered) == (
        0,
        0,
        1,
    )


@pytest.mark.parametrize("sampled", [False, True])
def test_words_of_interleaved_searches_are_kept_only_where_asked_for(
    play: Callable[[Search], None], sampled: bool
) -> None:
    play(lambda collection, request: response(collection))
    stage = Stage(BOTH[1], sampled=sampled)

    answer = stage.answer("red river")

    (entry,) = stage.kept
    assert answer.search_id == entry.id
    assert entry.query == ("red river" if sampled else None)
    assert sorted(entry.teams or []) == ["candidate", "live"]


def test_a_search_for_what_is_like_a_document_is_kept_without_words(
    play: Callable[[Search], None],
) -> None:
    play(lambda collection, request: response(collection))
    stage = Stage(BOTH[1], sampled=True)

    stage.traffic.answer("docs", SearchRequest(like="doc-1"), stage.key)

    (entry,) = stage.kept
    assert entry.query is None


@pytest.mark.parametrize(
    ("error", "failed", "dropped"),
    [(SearchUnsupported("No index of it."), 0, 1), (EncodingFailed("NaN."), 1, 0)],
)
def test_a_copy_that_the_candidate_was_not_built_for_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, error: Exception, failed: int, dropped: int
) -> None:
    def search(*_: object) -> SearchResponse:
        raise error

    monkeypatch.setattr("lockstep.search.shadow.search", search)
    stage = Stage(Exposure(shadow=1.0, canary=0.5))
    nothing: Any = None
    shadow = Shadow(nothing, SimpleNamespace(lasts=lambda: 60.0))  # type: ignore[arg-type]
    shadow.start()
    shadow.offer(Copy(stage.on_trial, SearchRequest("red", facets=["lang"]), response(LIVE)))
    while not (stage.counts.shadow.failed or stage.counts.dropped):
        time.sleep(0.001)
    shadow.stop()
    assert (stage.counts.shadow.failed, stage.counts.dropped) == (failed, dropped)


@pytest.mark.parametrize("exposure", BOTH)
def test_no_candidate_answers_a_key_with_a_filter(
    play: Callable[[Search], None], exposure: Exposure
) -> None:
    """It follows the change log a moment after live: until then it holds what was taken away."""
    stage = Stage(exposure)
    play(lambda collection, request: response(collection))

    answer = stage.answer(scope={"must": []})

    assert (answer.arm, answer.response.index_version) == (Arm.LIVE, LIVE)
    assert stage.answer().arm is not Arm.LIVE


def test_a_search_whose_sentences_are_compared_is_answered_by_live(
    play: Callable[[Search], None],
) -> None:
    """No version compares those of all hits up to a page far down."""
    play(lambda collection, request: response(collection))
    by_meaning = SearchRequest("red", offset=60, highlight=HighlightChoice(by_meaning=True))
    stage = Stage(BOTH[1])

    assert stage.traffic.answer("docs", by_meaning, stage.key).arm is Arm.LIVE
    assert stage.answer().arm is Arm.INTERLEAVED


@pytest.mark.parametrize(
    ("more", "limit", "goes_on"),
    [
        ({}, 2, False),
        ({LIVE: "cursor"}, 2, True),
        ({CANDIDATE: "cursor"}, 2, True),
        ({}, 1, True),  # each version has a document that the other has not
    ],
)
def test_an_interleaved_answer_has_a_cursor_where_either_version_has_more(
    play: Callable[[Search], None], more: dict[str, str], limit: int, goes_on: bool
) -> None:
    play(
        lambda collection, request: replace(response(collection), next_cursor=more.get(collection))
    )
    request, stage = SearchRequest("red", limit=limit), Stage(BOTH[1])
    cursor = stage.traffic.answer("docs", request, stage.key).response.next_cursor
    assert (cursor is not None) is goes_on
    if cursor is not None:
        assert resume(request, cursor).draft is not None
