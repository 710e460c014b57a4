"""What integration tests share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql_server import binaries, running

pytest.register_assert_rewrite("corpus_behaviour")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the tests, or of the one to use."""
    if url := os.environ.get("LOCKSTEP_TEST_POSTGRESQL_URL"):
        yield url
        return
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL is installed (Debian: `apt install postgresql`)")
    with running(folder) as url:
        yield url


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MB of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
