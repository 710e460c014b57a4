"""No command tells a password, whatever goes wrong and however much it is asked to say."""

from pathlib import Path

import pytest

from .conftest import run

PASSWORD = "pa55word"
COMMANDS = (
    ("status",),
    ("doctor",),
    ("key", "list"),
    ("ingest", "docs", "none.jsonl"),
    ("serve",),
    ("search", "docs", "words"),
)
# A server that refuses the connection, a URL that is none, a driver that is none.
DATABASES = (
    f"postgresql://me:{PASSWORD}@127.0.0.1:1/lockstep",
    f"postgresql://127.0.0.1:1/lockstep?user=me&password={PASSWORD}",
    f"postgresql://me:{PASSWORD}/x@127.0.0.1/lockstep",
    f"mysql://me:{PASSWORD}@127.0.0.1/lockstep",
)


@pytest.mark.parametrize("database", DATABASES)
def test_no_output_holds_the_password_of_the_database(tmp_path: Path, database: str) -> None:
    (tmp_path / "lockstep.toml").write_text(f'database_url = "{database}"\nport = 0\n')
    for command in COMMANDS:
        for verbosity in ((), ("-v",), ("--json",)):
            result = run(*command, *verbosity, "-w", tmp_path)
            assert result.code == 1, command
            assert result.out + result.err
            assert PASSWORD not in result.out + result.err, (command, verbosity)
