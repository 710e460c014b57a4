"""A small corpus and a tiny model that mining starts from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from workspaces import new_root

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Document
from lockstep.testing import tiny_model, tiny_reranker

WORDS = ("river", "stone", "cloud", "engine", "wing", "heat", "pressure", "sail", "rope", "mast")
DOCUMENTS = 40


def text_of(number: int) -> str:
    words = [WORDS[(number * k) % len(WORDS)] for k in range(1, 7)]
    return f"{' '.join(words)} number {number}."


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Corpus 'docs': 40 titled documents, of which d38 and d39 repeat the text of d3."""
    root = new_root(tmp_path_factory.mktemp("mining"))
    with open_workspace(root) as opened:
        opened.corpora.create("docs")
        opened.corpora.create("empty")
        documents = [
            Document(f"d{n}", text_of(3 if n >= 38 else n), title=f"Title {n}")
            for n in range(DOCUMENTS)
        ]
        opened.corpora.write("docs", documents)
        add_models(opened, root)
        yield opened


def add_models(workspace: Workspace, folder: Path) -> None:
    model = tiny_model(folder / "tiny", seed=1, vocabulary=WORDS)
    workspace.models.add("tiny", str(model))
    workspace.models.add("judge", str(tiny_reranker(folder / "judge", seed=2)))
