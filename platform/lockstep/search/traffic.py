"""Traffic: who answers a live search while a version is on trial, and what is kept of it.

Each answer comes from one generation; an interleaved one is made of two complete answers, each from
one generation, and its hits say from which.
"""

import logging
import random
from dataclasses import dataclass, replace

from lockstep.corpus.log_writer import LogWriter
from lockstep.corpus.query_log import LoggedSearch, new_search_id
from lockstep.errors import InvalidInput, Unavailable
from lockstep.index.generation import Generation
from lockstep.index.serving import Serving
from lockstep.index.trial_watch import OnTrial, TrialWatch
from lockstep.index.trials import Arm
from lockstep.models.rerankers import Rerankers
from lockstep.search.cursor import SEED_BITS, Draft
from lockstep.search.interleaved import can_interleave, from_top, interleaved
from lockstep.search.interleaving import Drafted
from lockstep.search.request import SearchRequest, SearchResponse
from lockstep.search.search import search
from lockstep.search.shadow import Copy, Quiet, Shadow
from lockstep.store.deadline import left_s, within
from lockstep.store.port import VectorStore

logger = logging.getLogger(__name__)

# A candidate that hangs costs a search no more than this, and no more than half of its time.
CANDIDATE_S = 1.0


@dataclass(frozen=True)
class Answer:
    """What a search is answered, by whom, and under which id it is kept."""

    response: SearchResponse
    arm: Arm = Arm.LIVE
    search_id: str | None = None  # None: not kept
    number: int = 0  # of the index version; of the live one where interleaved
    teams: list[Drafted] | None = None  # where interleaved: of each hit
    copy: Copy | None = None  # to be offered to the shadow once the answer is sent


class _CandidateFailed(Exception):
    """The candidate gave no answer; its message says why, without the query's words."""


@dataclass(frozen=True)
class Traffic:
    """Answers the live searches of a server."""

    serving: Serving
    store: VectorStore
    watch: TrialWatch
    shadow: Shadow
    quiet: Quiet
    log: LogWriter
    rerankers: Rerankers | None = None

    def answer(self, corpus: str, request: SearchRequest, key: str | None = None) -> Answer:
        """Answer a search; `key` says whose it is: the same one meets the same version.

        Without a key each search is placed by itself, so the pages of one list may come from
        different versions. Raises what a search on the live version raises.
        """
        with self.quiet.working():
            on_trial = self.watch.on_trial(corpus)
            if on_trial is None:
                live = self.serving.current(corpus)
                answer = Answer(
                    search(live, self.store, request, self.rerankers), number=live.version.number
                )
            else:
                answer = self._on_trial(on_trial, request, key)
        trial_id = on_trial.trial.id if on_trial else None
        return replace(answer, search_id=self._keep(corpus, request, answer, trial_id))

    def after(self, answer: Answer) -> None:
        """Call this once the answer is sent."""
        if answer.copy is not None:
            self.shadow.offer(answer.copy)

    def _on_trial(self, on_trial: OnTrial, request: SearchRequest, key: str | None) -> Answer:
        trial = on_trial.trial
        place = random.random() if key is None else trial.place(key)
        # A candidate follows the change log a moment after live: it may hold what was just taken
        # out of a caller's scope.
        arm = trial.arm(place) if request.scope is None else Arm.LIVE
        # One generation from here on: a promotion meanwhile changes nothing for this search.
        live = self.serving.current(trial.corpus)
        failure: _CandidateFailed | None = None
        try:
            if (answer := self._with_candidate(arm, on_trial, live, request, key)) is not None:
                return answer
        except _CandidateFailed as error:
            failure = error
        response = self._by_live(on_trial, live, request)
        if failure is not None:  # where live fails as well, it is not the candidate's fault
            _count_failure(on_trial, arm, failure)
        sampled = arm is Arm.LIVE and random.random() < trial.exposure.shadow
        copy = Copy(on_trial, request, response) if sampled else None
        return Answer(response, number=live.version.number, copy=copy)

    def _with_candidate(
        self,
        arm: Arm,
        on_trial: OnTrial,
        live: Generation,
        request: SearchRequest,
        key: str | None,
    ) -> Answer | None:
        """An answer that the candidate has a part in; None where live is to answer alone."""
        if arm is Arm.CANDIDATE:
            return self._by_candidate(on_trial, request)
        if arm is Arm.INTERLEAVED and can_interleave(request):
            return self._interleaved(on_trial, live, request, key)
        return None

    def _by_live(
        self, on_trial: OnTrial, live: Generation, request: SearchRequest
    ) -> SearchResponse:
        try:
            response = search(live, self.store, request, self.rerankers)
        except Unavailable:
            with on_trial.counting() as counts:
                counts.live.failed += 1
            raise
        with on_trial.counting() as counts:
            counts.live.answer(response.took_ms.total)
        return response

    def _by_candidate(self, on_trial: OnTrial, request: SearchRequest) -> Answer | None:
        response = self._tried(on_trial, request)
        if response is None:
            return None
        with on_trial.counting() as counts:
            counts.candidate.answer(response.took_ms.total)
        return Answer(response, Arm.CANDIDATE, number=on_trial.trial.number)

    def _interleaved(
        self, on_trial: OnTrial, live: Generation, request: SearchRequest, key: str | None
    ) -> Answer | None:
        """Both lists from the top, drafted, and of that the page that was asked for."""
        whole = from_top(request)
        theirs = self._tried(on_trial, whole)
        if theirs is None:
            return None
        ours = search(live, self.store, whole, self.rerankers)
        draft = Draft(on_trial.trial.number, _seed(on_trial, request, key))
        page = interleaved(ours, theirs, request, live.version.number, draft)
        with on_trial.counting() as counts:
            counts.interleaved.answer(page.response.took_ms.total)
            counts.ours.add(ours.took_ms.total)
            counts.theirs.add(theirs.took_ms.total)
        number = live.version.number
        return Answer(page.response, Arm.INTERLEAVED, number=number, teams=page.teams)

    def _tried(self, on_trial: OnTrial, request: SearchRequest) -> SearchResponse | None:
        """The candidate's answer; None where live has to answer, and that is no failure.

        Leaves live at least half of the time there is. Raises _CandidateFailed.
        """
        try:
            with on_trial.using() as generation, within(min(CANDIDATE_S, left_s() / 2)):
                if generation is not None:
                    return search(generation, self.store, request, self.rerankers)
        except InvalidInput:
            return None  # live answers it, or says what is wrong with it
        except Exception as error:  # no caller may suffer for what a candidate does
            # Of errors only the type: a message may quote the query.
            raise _CandidateFailed(type(error).__name__) from error
        if on_trial.error is not None:
            raise _CandidateFailed(on_trial.error)
        return None  # it is being loaded

    def _keep(
        self, corpus: str, request: SearchRequest, answer: Answer, trial_id: int | None
    ) -> str | None:
        """Keep a search if it is among those to be kept; its id.

        Interleaved ones are kept all, or clicks could not be credited; their words are kept only
        of those that would be kept anyway.
        """
        sampled = self.log.is_sampled()
        if answer.arm is not Arm.INTERLEAVED and not sampled:
            return None
        entry = LoggedSearch(
            id=new_search_id(),
            corpus=corpus,
            query=request.query or None if sampled else None,  # none where it is like a document
            mode=request.mode.value,
            number=answer.number,
            arm=answer.arm.value,
            documents=[hit.document_id for hit in answer.response.hits],
            took_ms=answer.response.took_ms.total,
            trial_id=trial_id,
            teams=[one.team.value for one in answer.teams] if answer.teams is not None else None,
        )
        return entry.id if self.log.offer(entry) else None


def _count_failure(on_trial: OnTrial, arm: Arm, failure: _CandidateFailed) -> None:
    with on_trial.counting() as counts:
        tried = counts.candidate if arm is Arm.CANDIDATE else counts.interleaved
        tried.failed += 1
        failed = tried.failed
    # A candidate in trouble fails every time: the first time is news, the rest is counted.
    level = logging.WARNING if failed == 1 else logging.DEBUG
    logger.log(level, "live answered instead of v%d: %s", on_trial.trial.number, failure)


def _seed(on_trial: OnTrial, request: SearchRequest, key: str | None) -> int:
    """Of the coin: the same for every search of the same query, if the caller can be told."""
    if key is None:
        return random.getrandbits(SEED_BITS)
    return int(on_trial.trial.place(f"{key}\x1f{request.query}") * 2**SEED_BITS)
