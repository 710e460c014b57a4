"""Lock files: one holder at a time, named to the others."""

import os
from pathlib import Path

import pytest

from lockstep.errors import StoreUnavailable
from lockstep.store import edge_lock
from lockstep.store.edge_lock import Owner


def held(path: Path) -> int:
    descriptor = edge_lock.acquire(path, wait_s=0)
    assert descriptor is not None
    return descriptor


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "docs.lock"
    descriptor = held(path)
    assert edge_lock.acquire(path, wait_s=0.05) is None
    edge_lock.release(descriptor)
    edge_lock.release(held(path))


def test_a_copy_of_the_descriptor_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "docs.lock"
    descriptor = held(path)
    copy = os.dup(descriptor)  # as a forked process would have
    edge_lock.release(descriptor)
    edge_lock.release(held(path))
    os.close(copy)


def test_a_lock_on_a_deleted_file_is_not_one(tmp_path: Path) -> None:
    path = tmp_path / "docs.lock"
    descriptor = held(path)
    path.unlink()
    other = held(path)
    assert edge_lock.acquire(path, wait_s=0) is None
    edge_lock.release(descriptor)
    assert edge_lock.acquire(path, wait_s=0) is None
    edge_lock.release(other)


def test_the_holder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "docs.lock"
    descriptor = held(path)
    edge_lock.write_owner(descriptor, Owner(1234567, "lockstep serve --with --many flags", "1"))
    edge_lock.write_owner(descriptor, Owner(1234, "lockstep serve", "12:03:44"))
    error = edge_lock.in_use("docs--v0002", path)
    assert error.message == (
        "Index 'docs--v0002' is open in process 1234 (lockstep serve, since 12:03:44)."
    )
    assert error.next_step == "Search through that process (its HTTP API), or stop it."
    edge_lock.release(descriptor)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path: Path, text: str) -> None:
    path = tmp_path / "docs.lock"
    path.write_text(text)
    assert "open in another process" in edge_lock.in_use("docs", path).message


def test_waiting_for_a_lock_ends(tmp_path: Path) -> None:
    path = tmp_path / "manifest.lock"
    descriptor = held(path)
    with (
        pytest.raises(StoreUnavailable, match="locked by another process"),
        edge_lock.exclusive(path, wait_s=0.05),
    ):
        pytest.fail("the lock was held by another")
    edge_lock.release(descriptor)
