"""The vectors of the last queries: exact, bounded, and never another model's."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lockstep.errors import EncodingFailed
from lockstep.models.query_vectors import QueryVectors
from lockstep.models.vectors import Vector


class Counted:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> Vector:
        self.asked.append(text)
        return np.array([len(text), 0.1], dtype=np.float32)


def test_a_known_query_is_not_encoded_again() -> None:
    vectors, encode = QueryVectors(2), Counted()
    first = vectors.get("a", encode)
    assert vectors.get("a", encode).tobytes() == first.tobytes()
    assert encode.asked == ["a"]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 7


def test_the_least_recently_asked_goes_first() -> None:
    vectors, encode = QueryVectors(2), Counted()
    for text in ("a", "b", "a", "c", "a", "b"):
        vectors.get(text, encode)
    assert encode.asked == ["a", "b", "c", "b"]


def test_none_are_kept_without_capacity() -> None:
    vectors, encode = QueryVectors(0), Counted()
    for _ in range(3):
        vectors.get("a", encode)
    assert encode.asked == ["a"] * 3


def test_a_failure_is_not_kept() -> None:
    vectors, encode = QueryVectors(2), Counted()

    def fail(text: str) -> Vector:
        raise EncodingFailed("no")

    with pytest.raises(EncodingFailed):
        vectors.get("a", fail)
    assert vectors.get("a", encode).shape == (2,)


def test_threads_never_see_more_or_others() -> None:
    vectors, encode = QueryVectors(5), Counted()
    ready = threading.Barrier(8)

    def ask(seed: int) -> bool:
        ready.wait()
        texts = ["x" * ((seed * 7 + number) % 12) for number in range(300)]
        return all(vectors.get(text, encode)[0] == len(text) for text in texts)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert len(vectors._vectors) == 5
