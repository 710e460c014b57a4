"""Leases on a real database: one holder, taken over from the dead, guarded by tokens."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from lockstep.corpus.database import Database
from lockstep.corpus.schema import leases as table
from lockstep.errors import LeaseHeld, LeaseLost
from lockstep.index.leases import Lease, Leases, require


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'lockstep.db'}")
    database.migrate()
    yield database
    database.close()


def expire(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(update(table).values(expires_at=0.0))


def test_a_second_holder_is_told_who_has_it(database: Database) -> None:
    leases = Leases(database)
    with leases.hold("v1"), pytest.raises(LeaseHeld, match="process "), leases.hold("v1"):
        pass
    with leases.hold("v1"):
        pass  # free again


def test_another_resource_is_free(database: Database) -> None:
    leases = Leases(database)
    with leases.hold("v1"), leases.hold("v2"):
        pass


def test_a_dead_process_holds_nothing(database: Database, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from lockstep.corpus.database import Database\n"
        "from lockstep.index.leases import Leases\n"
        "with Leases(Database(sys.argv[1])).hold('v1'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    url = f"sqlite:///{tmp_path / 'lockstep.db'}"
    paths = json.dumps(sys.path)
    killed = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths}\n{script}", url], check=False
    )
    assert killed.returncode == -9
    with Leases(database).hold("v1") as lease:
        assert lease.token == 2


def test_an_expired_lease_is_taken_over_and_its_holder_is_fenced_off(database: Database) -> None:
    leases = Leases(database)
    with leases.hold("v1") as first:
        expire(database)
        with leases.hold("v1") as second:
            assert second.token == first.token + 1
            with database.writing() as connection:
                require(connection, second)
                with pytest.raises(LeaseLost, match="another process"):
                    require(connection, first)
    with leases.hold("v1") as third:  # the first holder's end has not freed what was not its own
        assert third.token == second.token + 1


def test_a_lease_that_never_was_is_lost(database: Database) -> None:
    with database.writing() as connection, pytest.raises(LeaseLost):
        require(connection, Lease("nothing", 1))


def test_a_lease_is_renewed_while_it_is_held(database: Database) -> None:
    leases = Leases(database, ttl_s=0.6)
    other = Leases(database, ttl_s=0.6)
    with leases.hold("v1"):
        time.sleep(1.2)  # twice its lifetime
        with pytest.raises(LeaseHeld), other.hold("v1"):
            pass
