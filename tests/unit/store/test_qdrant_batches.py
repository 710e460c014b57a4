"""Requests that adapt to the server: nothing is lost, nothing changes its place."""

from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from lockstep.store.qdrant_batches import RequestSize, send_first
from lockstep.store.qdrant_errors import ENGINE_ERRORS, TryAgain, is_transient

DONE = models.UpdateResult(status=models.UpdateStatus.COMPLETED)


def structs(count: int) -> list[models.PointStruct]:
    return [models.PointStruct(id=n, vector={}, payload={}) for n in range(count)]


def too_large() -> Exception:
    return UnexpectedResponse(413, "Payload Too Large", b"", httpx.Headers())


def timed_out() -> Exception:
    return ResponseHandlingException(httpx.ReadTimeout("timed out"))


class Server:
    """Takes so many points at once; fails by the script where it has an entry."""

    def __init__(self, limit: int, script: Sequence[str]) -> None:
        self.limit = limit
        self.script = list(script)
        self.acknowledged: list[models.PointStruct] = []

    def send(self, points: list[models.PointStruct]) -> models.UpdateResult:
        if len(points) > self.limit:
            raise too_large()
        fault = self.script.pop(0) if self.script else "none"
        if fault == "lost":
            raise timed_out()
        if fault == "queued":
            return models.UpdateResult(status=models.UpdateStatus.WAIT_TIMEOUT)
        self.acknowledged += points
        return DONE


@given(
    count=st.integers(0, 200),
    limit=st.integers(1, 300),
    start=st.integers(1, 256),
    script=st.lists(st.sampled_from(["none", "lost", "queued"]), max_size=20),
)
def test_every_point_is_acknowledged_once_and_in_order(
    count: int, limit: int, start: int, script: list[str]
) -> None:
    server, size = Server(limit, script), RequestSize(start)
    points = structs(count)
    left: Sequence[models.PointStruct] = points
    while left:
        try:
            left = send_first(left, size, server.send)
        except ENGINE_ERRORS as error:
            if not is_transient(error):  # else the same call is made again
                raise
    assert server.acknowledged == points


def test_a_size_falls_fast_and_grows_slowly() -> None:
    size = RequestSize(512, most=520)
    size.shrink(512)
    assert size.size == 256
    size.grow(256)
    assert size.size == 288
    size.grow(100)  # the end of a batch: it says nothing of larger ones
    assert size.size == 288
    for _ in range(20):
        size.grow(size.size)
    assert size.size == 520


def test_the_size_never_falls_below_one_point() -> None:
    size = RequestSize(3)
    for _ in range(4):
        size.shrink(size.size)
    assert size.size == 1


def test_a_small_request_that_fails_halves_itself() -> None:
    size = RequestSize(512)
    size.shrink(8)
    assert size.size == 4


def test_a_refused_connection_says_nothing_of_the_size() -> None:
    def refuse(_: list[models.PointStruct]) -> models.UpdateResult:
        raise ResponseHandlingException(httpx.ConnectError("refused"))

    size = RequestSize(512)
    with pytest.raises(ResponseHandlingException):
        send_first(structs(600), size, refuse)
    assert size.size == 512


def test_one_point_that_is_too_large_is_not_tried_again() -> None:
    server = Server(0, [])
    with pytest.raises(UnexpectedResponse) as raised:
        send_first(structs(1), RequestSize(), server.send)
    assert not is_transient(raised.value)


def test_a_write_that_waits_in_the_log_is_not_acknowledged() -> None:
    server = Server(10, ["queued"])
    with pytest.raises(TryAgain, match="wait_timeout"):
        send_first(structs(5), RequestSize(), server.send)
