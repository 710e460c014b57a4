"""The change log on SQLite."""

import pytest
from corpus_behaviour import CorpusBehaviour

from lockstep.corpus.change_log import Corpora
from lockstep.errors import InvalidInput


class TestOnSqlite(CorpusBehaviour):
    """Everything that a corpus does on every database."""


@pytest.mark.parametrize("name", ["a", "0", "docs", "my_docs-2", "x" * 63])
def test_names_that_a_corpus_can_have(corpora: Corpora, name: str) -> None:
    corpora.create(name)
    assert corpora.names() == [name]


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "_a", "a--b", "a b", "a\n", "é", "a.b", "../a", "x" * 64]
)
def test_names_that_no_corpus_can_have(corpora: Corpora, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name a corpus"):
        corpora.create(name)
    assert corpora.names() == []
