"""A small corpus and tiny models that training data is made from."""

from pathlib import Path

from workspaces import new_root

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Document
from lockstep.testing import tiny_model, tiny_reranker

WORDS = ("river", "stone", "cloud", "engine", "wing", "heat", "pressure", "sail", "rope", "mast")
DOCUMENTS = 40


def text_of(number: int) -> str:
    words = [WORDS[(number * k) % len(WORDS)] for k in range(1, 7)]
    return f"{' '.join(words)} number {number}."


def small_corpus(root: Path) -> Workspace:
    """Corpus 'docs': 40 titled documents, of which d38 and d39 repeat the text of d3; 'empty'.

    Models tiny@1, and the reranker judge@1. Whoever calls closes the workspace.
    """
    opened = open_workspace(new_root(root))
    for name in ("docs", "empty"):
        opened.corpora.create(name)
    documents = [
        Document(f"d{n}", text_of(3 if n >= 38 else n), title=f"Title {n}")
        for n in range(DOCUMENTS)
    ]
    opened.corpora.write("docs", documents)
    opened.models.add("tiny", str(tiny_model(root / "tiny", seed=1, vocabulary=WORDS)))
    opened.models.add("judge", str(tiny_reranker(root / "judge", seed=2)))
    return opened
