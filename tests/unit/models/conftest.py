"""A tiny model, and a registry of its own for each test."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lockstep.corpus.database import Database
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.registry import ModelRegistry
from lockstep.testing import tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A fresh model folder that the test may change."""
    return tiny_model(tmp_path / "model")


@pytest.fixture
def artefacts(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(str(tmp_path / "artefacts"))


@pytest.fixture
def registry(tmp_path: Path, artefacts: ArtefactStore) -> ModelRegistry:
    database = Database(f"sqlite:///{tmp_path}/catalog.db")
    database.migrate()
    return ModelRegistry(database, artefacts)


@pytest.fixture
def edit() -> Callable[[Path, dict[str, object]], None]:
    """Change some fields of a JSON file."""

    def change(path: Path, fields: dict[str, object]) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change
