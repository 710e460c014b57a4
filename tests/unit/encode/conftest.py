"""Tiny models, loaded once for all tests of the folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from lockstep.models.loading import load_model
from lockstep.testing import tiny_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("encode") / "model")


@pytest.fixture(scope="session")
def model(folder: Path) -> Any:
    """Not to be changed."""
    return load_model(folder, device="cpu")


@pytest.fixture(scope="session")
def without_padding(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model whose tokenizer has no token to pad with."""
    folder = tiny_model(tmp_path_factory.mktemp("encode") / "model")
    path = folder / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    del fields["pad_token"]
    path.write_text(json.dumps(fields))
    return load_model(folder, device="cpu")
