"""Asking about many passages at once: what is known comes from the cache, the rest is asked."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from lockstep.errors import ChatUnavailable
from lockstep_indexer.train.questions.budget import Budget
from lockstep_indexer.train.questions.cache import AnswerCache
from lockstep_indexer.train.questions.endpoint import (
    Answer,
    ChatEndpoint,
    RequestRefused,
    SpendCapReached,
)
from lockstep_indexer.train.questions.prompt import Prompt, whole_flaw

# An answer that is none is asked for once more; then it is taken for what it is.
_TRIES = 2
# So many passages refused, and none answered: it is not the passages.
_HOPELESS = 5

Report = Callable[[int, int], None]  # passages answered, passages in all


@dataclass
class Asked:
    """Answers by the place of their passage; what is missing was refused or not asked for."""

    answers: dict[int, Answer] = field(default_factory=dict)
    cached: int = 0
    refused: int = 0
    last_refusal: str = ""

    @property
    def answered(self) -> int:
        return len(self.answers) - self.cached


@dataclass
class Asker:
    """Asks one endpoint, with so many requests under way at once."""

    endpoint: ChatEndpoint
    cache: AnswerCache
    prompt: Prompt
    budget: Budget
    concurrency: int = 4
    report: Report = lambda done, total: None
    _asked: Asked = field(default_factory=Asked)

    def ask(self, passages: Sequence[str]) -> Asked:
        """Answers for all passages, or for as many as the budget allows.

        Whatever happens, the answers that came are in the cache. Raises what the endpoint raises.
        """
        self._asked = Asked()
        missing = []
        for place, passage in enumerate(passages):
            if (known := self.cache.get(self.prompt, passage, self.endpoint.model)) is not None:
                self._asked.answers[place] = known
            else:
                missing.append((place, passage))
        self._asked.cached = len(self._asked.answers)
        if missing:
            self.report(self._asked.cached, len(passages))
            asyncio.run(self._ask_all(missing, len(passages)))
        return self._asked

    async def _ask_all(self, missing: Sequence[tuple[int, str]], total: int) -> None:
        """The first failure stops all: what is under way then is cut off, and lost."""
        left = iter(missing)
        async with self.endpoint.client() as client:
            workers = [
                asyncio.create_task(self._work(client, left, total))
                for _ in range(min(self.concurrency, len(missing)))
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(
        self, client: httpx.AsyncClient, left: Iterator[tuple[int, str]], total: int
    ) -> None:
        for place, passage in left:
            try:
                answer = await self._answer(client, passage)
            except SpendCapReached:
                return
            except RequestRefused as error:
                self._refuse(error)
                continue
            self.cache.put(self.prompt, passage, self.endpoint.model, answer)
            self._asked.answers[place] = answer
            self.report(len(self._asked.answers), total)

    async def _answer(self, client: httpx.AsyncClient, passage: str) -> Answer:
        asked = self.prompt.about(passage)
        answer = await self.endpoint.ask(client, asked, self.budget)
        for _ in range(_TRIES - 1):
            if whole_flaw(answer.text, self.prompt) is None:
                break
            try:
                answer = await self.endpoint.ask(client, asked, self.budget)
            except SpendCapReached:
                break  # what was paid for is kept
        return answer

    def _refuse(self, error: RequestRefused) -> None:
        self._asked.refused += 1
        self._asked.last_refusal = str(error)
        if self._asked.refused >= _HOPELESS and not self._asked.answered:
            raise ChatUnavailable(
                f"The chat endpoint {self.endpoint.host} has refused {self._asked.refused} "
                f"passages and answered none: {error}.",
                next_step="Check the model's name and what the endpoint takes.",
            )
