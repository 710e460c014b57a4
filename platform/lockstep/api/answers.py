"""Answers to searches, as they are sent.

They are written as they are, without being made into their schemas first: that took longer than
the rest of the way out. A test holds that they fit their schemas.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi.responses import Response
from pydantic import TypeAdapter

from lockstep.index.trials import Arm
from lockstep.search.request import SearchResponse


@dataclass(frozen=True)
class SearchAnswer(SearchResponse):
    """`schemas.search.SearchView` in JSON."""

    arm: Arm | None = None
    search_id: str | None = None


@dataclass(frozen=True)
class BatchAnswer:
    """`schemas.search.BatchView` in JSON."""

    answers: list[SearchAnswer]


_ANSWER = TypeAdapter(SearchAnswer)
_BATCH = TypeAdapter(BatchAnswer)


def told(
    response: SearchResponse, *, arm: Arm | None = None, search_id: str | None = None
) -> Response:
    return _sent(_ANSWER.dump_json(_answer(response, arm, search_id)))


def all_told(responses: Sequence[SearchResponse]) -> Response:
    return _sent(_BATCH.dump_json(BatchAnswer([_answer(response) for response in responses])))


def _answer(
    response: SearchResponse, arm: Arm | None = None, search_id: str | None = None
) -> SearchAnswer:
    return SearchAnswer(**vars(response), arm=arm, search_id=search_id)


def _sent(body: bytes) -> Response:
    return Response(body, media_type="application/json")
