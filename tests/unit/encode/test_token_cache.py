"""The token cache costs time where it is damaged, full or out of reach, and never a run."""

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import token_processes
from token_processes import FAMILY, content_hash, record

from lockstep_indexer.encode.token_cache import TokenCache
from lockstep_indexer.encode.token_families import Family
from lockstep_indexer.encode.token_upkeep import Forgotten

_LARGE = 1 << 30


def hashes(numbers: range) -> list[str]:
    return [content_hash(number) for number in numbers]


def put(cache: TokenCache, numbers: range, family: Family = FAMILY) -> None:
    cache.put(family, {content_hash(number): record(number) for number in numbers})


def stored(cache: TokenCache, numbers: range, family: Family = FAMILY) -> int:
    """How many are there; all of them as they were put."""
    found = cache.get(family, hashes(numbers))
    assert found.items() <= {content_hash(number): record(number) for number in numbers}.items()
    return len(found)


def opened(folder: Path, max_bytes: int = _LARGE) -> TokenCache:
    return TokenCache(folder, max_bytes, spare_bytes=0)


def used_megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING)
    return lambda: [each.message for each in caplog.records]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_what_was_put_is_there_for_the_next_process(folder: Path) -> None:
    with opened(folder) as cache:
        put(cache, range(500))
    with opened(folder) as cache:
        assert stored(cache, range(600)) == 500
        assert stored(cache, range(600), Family("another", "a model")) == 0


class TestDamage:
    @pytest.mark.parametrize("kind", ["no database", "cut off", "random bytes", "an empty file"])
    def test_a_damaged_file_is_left_for_a_new_one(
        self, folder: Path, kind: str, warnings: Callable[[], list[str]]
    ) -> None:
        with opened(folder) as cache:
            put(cache, range(500))
        [path] = folder.iterdir()
        damage(path, kind)
        with opened(folder) as cache:
            for _ in range(2):
                put(cache, range(500))
                assert stored(cache, range(500)) == 500
        if kind != "an empty file":
            [message] = warnings()
            assert "is damaged" in message
            assert [each.name for each in folder.iterdir()] == ["v1-00002.db"]

    def test_two_that_find_it_damaged_go_on_with_the_same_file(self, folder: Path) -> None:
        with opened(folder) as first, opened(folder) as second:
            put(first, range(500))
            assert first._file is not None
            first._file.shrink()
            damage(folder / "v1-00001.db", "random bytes")
            for cache in (first, second):
                put(cache, range(500))
                stored(cache, range(500))
                put(cache, range(500))
        with opened(folder) as cache:
            assert stored(cache, range(500)) == 500

    def test_a_file_that_is_damaged_again_and_again_is_given_up(
        self, folder: Path, warnings: Callable[[], list[str]]
    ) -> None:
        folder.mkdir()
        for number in (1, 2):
            (folder / f"v1-0000{number}.db").write_bytes(b"no database" * 1000)
        (folder / "v1-00003.db").write_bytes(b"no database" * 1000)
        (folder / "v1-00004.db").mkdir()
        with opened(folder) as cache:
            put(cache, range(5))
            assert stored(cache, range(5)) == 0
        assert len(warnings()) == 1


def damage(path: Path, kind: str) -> None:
    draws = random.Random(0)
    content = bytearray(path.read_bytes())
    match kind:
        case "no database":
            content[:100] = b"x" * 100
        case "cut off":
            del content[len(content) // 2 :]
        case "random bytes":
            for _ in range(2000):
                content[draws.randrange(100, len(content))] = draws.randrange(256)
        case "an empty file":
            content.clear()
    path.write_bytes(content)


class TestBounds:
    def test_what_was_not_used_for_the_longest_time_makes_room(self, folder: Path) -> None:
        families = [Family(str(number), "a model") for number in range(3)]
        for family in families:
            with opened(folder, 2_000_000) as cache:
                put(cache, range(600), family)
        with opened(folder, 2_000_000) as cache:
            assert [stored(cache, range(600), each) for each in families] == [0, 600, 600]
            cache.start(families[1])
        with opened(folder, 2_000_000) as cache:
            put(cache, range(600), families[0])
            assert [stored(cache, range(600), each) for each in families] == [600, 600, 0]
        assert used_megabytes(folder) < 2.1

    def test_a_full_one_stops_growing_and_is_still_read(
        self, folder: Path, warnings: Callable[[], list[str]]
    ) -> None:
        with opened(folder, 1_000_000) as cache:
            for start in range(0, 5000, 100):
                put(cache, range(start, start + 100))
            kept = stored(cache, range(5000))
            assert 300 < kept < 1000
            assert stored(cache, range(kept)) == kept
        [message] = warnings()
        assert "stops growing: the 1 MB" in message

    def test_a_lowered_limit_is_kept(self, folder: Path) -> None:
        for name in ("first", "second"):
            with opened(folder) as cache:
                put(cache, range(600), Family(name, "a model"))
        with opened(folder, 1_000_000) as cache:
            assert stored(cache, range(600), Family("first", "a model")) == 0
            assert stored(cache, range(600), Family("second", "a model")) == 600
        assert used_megabytes(folder) < 1

    def test_the_last_space_of_a_disk_is_not_taken(
        self, folder: Path, warnings: Callable[[], list[str]]
    ) -> None:
        with TokenCache(folder, _LARGE, spare_bytes=1 << 60) as cache:
            for _ in range(2):
                put(cache, range(5))
            assert stored(cache, range(5)) == 0
        [message] = warnings()
        assert "the disk has" in message


class TestOutOfReach:
    def test_a_folder_that_cannot_be_made(
        self, folder: Path, warnings: Callable[[], list[str]]
    ) -> None:
        folder.write_text("a file")
        with opened(folder) as cache:
            cache.start(FAMILY)
            put(cache, range(5))
            assert stored(cache, range(5)) == 0
            assert cache.forget(set(), []) == Forgotten()
        [message] = warnings()
        assert "cannot be used" in message

    def test_a_file_that_another_process_holds_is_still_read(
        self, folder: Path, warnings: Callable[[], list[str]]
    ) -> None:
        with opened(folder) as cache:
            put(cache, range(5))
            assert cache._file is not None
            cache._file.connection.execute("PRAGMA busy_timeout=50")
            other = sqlite3.connect(folder / "v1-00001.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                put(cache, range(5, 10))
            other.close()
            assert stored(cache, range(10)) == 5
        [message] = warnings()
        assert "locked" in message


class TestForgetting:
    @pytest.fixture
    def filled(self, folder: Path) -> Iterator[TokenCache]:
        with opened(folder) as cache:
            put(cache, range(1000), Family("both", "gone"))
            put(cache, range(10), Family("both", "here"))
            put(cache, range(1000), Family("one", "gone"))
            yield cache

    def test_nothing_else_goes(self, folder: Path, filled: TokenCache) -> None:
        before = used_megabytes(folder)
        would = filled.forget({"here"}, hashes(range(200)), dry_run=True)
        assert (would.families, would.documents) == (1, 800)
        assert stored(filled, range(1000), Family("one", "gone")) == 1000
        done = filled.forget({"here"}, hashes(range(200)))
        assert (done.families, done.documents) == (1, 800)
        assert would.freed_bytes == pytest.approx(done.freed_bytes, rel=0.2)
        assert stored(filled, range(1000), Family("both", "here")) == 200
        assert stored(filled, range(1000), Family("one", "gone")) == 0
        assert used_megabytes(folder) < before / 3

    def test_what_goes_under_a_run_is_made_again(self, folder: Path, filled: TokenCache) -> None:
        with opened(folder) as other:
            other.forget(set(), [])
        family = Family("one", "gone")
        assert stored(filled, range(10), family) == 0
        put(filled, range(10), family)
        assert stored(filled, range(10), family) == 10

    def test_files_that_were_left_are_deleted(self, folder: Path, filled: TokenCache) -> None:
        (folder / "v0-00009.db").write_text("of another layout")
        filled.forget({"here"}, hashes(range(200)))
        assert {path.name[:8] for path in folder.iterdir()} == {"v1-00001"}


def started(folder: Path, *numbers: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, token_processes.__file__, str(folder), *map(str, numbers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


class TestProcesses:
    def test_two_write_at_once(self, folder: Path) -> None:
        writers = [started(folder, 0, 2000), started(folder, 1000, 3000)]
        for writer in writers:
            _, told = writer.communicate(timeout=60)
            assert (writer.returncode, told) == (0, "")
        with opened(folder) as cache:
            assert stored(cache, range(3000)) == 3000

    def test_one_that_is_killed_has_lost_nothing_but_the_last_batch(
        self, folder: Path, warnings: Callable[[], list[str]]
    ) -> None:
        writer = started(folder, 0, 1_000_000)
        assert writer.stdout is not None
        last = [int(writer.stdout.readline()) for _ in range(30)][-1]
        writer.send_signal(signal.SIGKILL)
        last = max([last, *map(int, writer.stdout.read().split())])
        writer.communicate(timeout=60)
        with opened(folder) as cache:
            assert stored(cache, range(last + 1)) == last + 1
            put(cache, range(1_000_000, 1_000_010))
            assert stored(cache, range(1_000_000, 1_000_010)) == 10
        assert warnings() == []

    def test_a_disk_without_space_ends_writing_alone(self, folder: Path) -> None:
        writer = started(folder, 0, 2000, 500_000)  # bytes a file may have
        numbers, told = writer.communicate(timeout=60)
        assert (writer.returncode, len(numbers.split())) == (0, 100)
        assert "Traceback" not in told
        assert told.count("stops growing") == 1
        with opened(folder) as cache:
            assert 0 < stored(cache, range(2000)) < 2000


class TestStrayFiles:
    def test_they_are_neither_opened_nor_deleted(self, folder: Path) -> None:
        with opened(folder) as cache:
            put(cache, range(5))
        stray = [folder / name for name in ("v1-old.db", "v1-99999999.db.bak", "vx-1.db")]
        for path in stray:
            path.write_text("of somebody")
        with opened(folder) as cache:
            assert stored(cache, range(5)) == 5
            cache.forget(set(), [])
        assert all(path.read_text() == "of somebody" for path in stray)


class TestReadOnly:
    def test_nothing_is_changed(self, folder: Path) -> None:
        with opened(folder) as cache:
            put(cache, range(600))
        before = (folder / "v1-00001.db").read_bytes()
        with TokenCache.to_read(folder) as cache:
            put(cache, range(600, 700))
            cache.start(Family("another", "a model"))
            assert stored(cache, range(700)) == 600
        assert (folder / "v1-00001.db").read_bytes() == before

    def test_a_damaged_file_stays(self, folder: Path, warnings: Callable[[], list[str]]) -> None:
        with opened(folder) as cache:
            put(cache, range(500))
        damage(folder / "v1-00001.db", "cut off")
        with TokenCache.to_read(folder) as cache:
            assert stored(cache, range(500)) == 0
            assert cache.damaged
        assert [path.name for path in folder.glob("*.db")] == ["v1-00001.db"]
        assert len(warnings()) == 1

    def test_no_folder_is_made(self, folder: Path) -> None:
        with TokenCache.to_read(folder) as cache:
            assert stored(cache, range(5)) == 0
        assert not folder.exists()
