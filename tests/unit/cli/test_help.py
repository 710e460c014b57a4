"""Every command explains itself: a promise, an example, and help for each option."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import lockstep
from lockstep_indexer.cli.app import app

from .conftest import run

README = Path(__file__).parents[3] / "README.md"


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}")


COMMANDS = dict(leaves(typer.main.get_command(app), "lockstep"))


def test_every_command_of_the_contract_is_there() -> None:
    assert set(COMMANDS) == {
        f"lockstep {name}"
        for name in (
            "init", "ingest", "model add", "model list", "model show", "qrels import", "qrels list",
            "qrels drop", "pairs structure", "pairs clicks", "pairs check", "pairs questions",
            "mine", "plan", "evaluate", "advise", "reindex", "compare", "trial start", "trial stop",
            "trial show", "promote", "rollback", "gc", "rollouts", "status", "search", "serve",
            "doctor", "demo", "mcp", "key create", "key list", "key revoke",
        )
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_has_a_promise_and_an_example(path: str) -> None:
    command = COMMANDS[path]
    promise = command.help.split("\n\n")[0]
    assert promise.endswith(".")
    assert len(promise) <= 60
    assert re.match(rf"Example: \[cyan\]{path}\b", command.epilog)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_parameter_has_help(path: str) -> None:
    for parameter in COMMANDS[path].params:
        assert parameter.name == "help" or parameter.help, parameter.name


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_the_common_options(path: str) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert {"--json", "--workspace", "-w", "--verbose", "-v"} <= options


@pytest.mark.parametrize("path", COMMANDS)
def test_help_prints(path: str) -> None:
    result = run(*path.split()[1:], "--help")
    assert result.code == 0
    assert "Example: lockstep" in result.out


@pytest.mark.parametrize("path", COMMANDS)
def test_the_readme_lists_the_command(path: str) -> None:
    if not README.exists():
        pytest.skip("there is no README yet")
    nouns = path.replace("model add", "model").replace("model list", "model")
    assert nouns.replace("model show", "model") in README.read_text()


def test_version() -> None:
    assert run("--version").out == f"lockstep {lockstep.__version__}\n"


def test_nothing_at_all_shows_the_help() -> None:
    result = run()
    assert result.code == 2
    assert "Usage: lockstep" in result.out
    assert result.err == ""


def test_help_and_completion_load_nothing_heavy() -> None:
    code = (
        "import sys; from lockstep_indexer.cli import main; main(['--help']);"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'sqlalchemy', 'numpy',"
        " 'pydantic', 'qdrant_edge', 'fastapi'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
