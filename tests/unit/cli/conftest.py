"""A small workspace, built once by the command line itself and copied for each test."""

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from workspaces import copied

from lockstep.testing import tiny_model
from lockstep_indexer.cli import main

WORDS = ("python", "file", "reader", "csv", "thread", "wait", "socket", "url", "compare", "json")


@dataclass(frozen=True)
class Result:
    """What one run of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout; fails where there is anything else."""
        return json.loads(self.out)


def run(*arguments: str | Path) -> Result:
    """Run the command line in this process, with its output in files rather than a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


Cli = Callable[..., Result]


def write_documents(path: Path, count: int) -> Path:
    """JSON Lines whose texts differ, half of them in German by their metadata."""
    rows = [
        {
            "id": f"d{n}",
            "title": f"Title {n}",
            "text": " ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 9)) + f" number {n}.",
            "metadata": {"lang": "de" if n % 2 else "en"},
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of two tiny models: one that Matryoshka prefixes may be taken of, one not."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny", dim=32, seed=1, vocabulary=WORDS)
    tiny_model(folder / "other", dim=48, seed=2, vocabulary=WORDS, matryoshka_dims=[16, 48])
    return folder


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """Corpus 'docs' with v1 live (tiny@1) and v2 a candidate (other@1); corpus 'bare' without."""
    root = tmp_path_factory.mktemp("workspaces") / "template"
    documents = write_documents(root.parent / "docs.jsonl", 40)
    assert run("init", root).code == 0
    # Other work on the machine would decide about the latency of searches this small.
    with (root / "lockstep.toml").open("a") as config:
        config.write("[gates]\nlatency = false\n")
    for arguments in (
        ("ingest", "docs", documents, "-w", root),
        ("ingest", "bare", documents, "-w", root),
        ("model", "add", "tiny", models / "tiny", "-w", root),
        ("model", "add", "other", models / "other", "-w", root),
        ("reindex", "docs", "--model", "tiny", "--promote", "-w", root),
        ("reindex", "docs", "--model", "other", "--prefilter-dim", "16", "-w", root),
    ):
        result = run(*arguments)
        assert result.code == 0, result.err
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """A copy of the template for one test to change."""
    return copied(template, tmp_path / "workspace")


@pytest.fixture
def cli(root: Path) -> Cli:
    """Run a command on a copy of the template."""
    return lambda *arguments: run("-w", root, *arguments)


@pytest.fixture(scope="session")
def reading(template: Path) -> Cli:
    """Run a command that changes nothing, on the template itself."""
    return lambda *arguments: run("-w", template, *arguments)
