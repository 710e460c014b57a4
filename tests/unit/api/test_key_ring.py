"""The keys that a server holds: fresh within a second, good for a while without the database."""

import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lockstep.api import key_ring
from lockstep.api.key_ring import STALE_S, KeyRing
from lockstep.corpus.api_key import Scope, id_in
from lockstep.corpus.api_keys import ApiKeys, KeysInUse
from lockstep.corpus.database import Database
from lockstep.errors import DatabaseUnavailable, InvalidSetting
from lockstep.store.filters import prefixed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """The real keys, behind a database that can be cut off."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self.down = False

    def __call__(self, known: KeysInUse | None) -> KeysInUse:
        if self.down:
            raise DatabaseUnavailable("The database does not answer.")
        return self._keys.in_use(known)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[ApiKeys]:
    database = Database(f"sqlite:///{tmp_path / 'keys.db'}")
    database.migrate()
    yield ApiKeys(database, partial(prefixed, prefix="metadata."))
    database.close()


def test_a_key_counts_from_the_next_look_on_and_no_longer_once_revoked(keys: ApiKeys) -> None:
    ring = KeyRing(keys.in_use)
    ring.refresh()
    _, presented = keys.create("shop", [Scope.SEARCH])
    assert ring.find(presented) is None
    ring.refresh()
    found = ring.find(presented)
    assert found is not None
    assert found.name == "shop"
    keys.revoke("shop")
    ring.refresh()
    assert ring.find(presented) is None
    assert (ring.any_in_use, ring.any_ever) == (False, True)


def test_the_id_alone_opens_nothing(keys: ApiKeys) -> None:
    _, presented = keys.create("shop", [Scope.SEARCH])
    ring = KeyRing(keys.in_use)
    ring.refresh()
    for wrong in (f"lsk_{id_in(presented)}_{'0' * 64}", "lsk_", "", "Bearer", "\x00", "é" * 81):
        assert ring.find(wrong) is None


def test_an_outage_locks_nobody_out_at_once_but_not_for_ever(keys: ApiKeys) -> None:
    clock, source = Clock(), Source(keys)
    _, presented = keys.create("shop", [Scope.SEARCH])
    ring = KeyRing(source, clock=clock)
    ring.refresh()
    source.down = True
    with pytest.raises(DatabaseUnavailable):
        ring.refresh()

    clock.now = STALE_S
    assert ring.find(presented) is not None
    clock.now = STALE_S + 1
    with pytest.raises(DatabaseUnavailable, match="no API key can be checked"):
        ring.find(presented)
    source.down = False
    ring.refresh()
    assert ring.find(presented) is not None


def test_a_thread_looks_by_itself(keys: ApiKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "REFRESH_S", 0.01)
    source = Source(keys)
    ring = KeyRing(source)
    ring.start()
    try:
        source.down = True  # which it survives
        _, presented = keys.create("shop", [Scope.SEARCH])
        source.down = False
        while ring.find(presented) is None:
            pass
        keys.revoke("shop")
        while ring.find(presented) is not None:
            pass
    finally:
        ring.stop()


def test_commands_on_this_machine_get_a_key_that_only_searches(
    keys: ApiKeys, tmp_path: Path
) -> None:
    ring = KeyRing(keys.in_use)
    path = tmp_path / "local.key"
    path.write_text("of a server before\n")
    path.chmod(0o644)
    ring.admit_commands(path)

    presented = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = ring.find(presented)
    assert found is not None
    assert found.scopes == {Scope.SEARCH}
    assert ring.find(presented[:-1] + "x") is None
    assert not ring.any_ever  # it closes no open server
    assert list(tmp_path.glob("local.key.*")) == []


def test_a_folder_that_cannot_be_written_to_is_named(keys: ApiKeys, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"nowhere/local\.key cannot be written"):
        KeyRing(keys.in_use).admit_commands(tmp_path / "nowhere" / "local.key")
