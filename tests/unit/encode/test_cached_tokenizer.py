"""What comes through the token cache is what splitting and tokenizing would give."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.corpus.documents import Document
from lockstep.index.passages import Passage, PassageSplitter, Windows
from lockstep.models.loading import fast_tokenizer, load_model, plain_copy
from lockstep.testing import tiny_model
from lockstep_indexer.encode.cached_tokenizer import CachedTokenizer
from lockstep_indexer.encode.token_cache import TokenCache
from lockstep_indexer.encode.token_records import TokenRecord
from lockstep_indexer.encode.tokenizing import PassageTokenizer
from lockstep_indexer.encode.tokens import Tokens

_WINDOW = 32
_DOCUMENTS = [
    Document("plain", "Heat in slabs."),
    Document("titled", "First sentence. Second one! A third? " * 9, title="On heat"),
    Document("a long title", "Some text that is here. " * 9, title="A title of many words " * 9),
    Document("emoji", "🙂🙃🚀" * 40),
    Document("control", "\x07\x1b[0m\u200b \r\n\t. " * 20),
    Document("spaces", "  \n leading and trailing \u3000 " + "  ,  " * 30),
    Document("long word", "x" * 300),
    Document("chinese", "世界很大。" * 30, metadata={"lang": "zh"}),
    Document("many words", "word of a plane, " * 1000),
]


class Counted(PassageSplitter):
    """Counts the documents that it cuts."""

    documents = 0

    def windows(self, documents: Sequence[Document]) -> list[Windows]:
        self.documents += len(documents)
        return super().windows(documents)


class Setup:
    """A splitter and a tokenizer of one model, and what they give without a cache."""

    def __init__(self, model: Any, prompt: str = "", window: int = _WINDOW) -> None:
        own = fast_tokenizer(model)
        assert own is not None
        self.splitter = Counted(plain_copy(own), window, prompt=prompt)
        self.tokenizer = PassageTokenizer(model, prompt, _WINDOW)

    def through(self, cache: TokenCache) -> CachedTokenizer:
        return CachedTokenizer(self.splitter, self.tokenizer, cache, model="digest of a model")

    def plain(self, documents: Sequence[Document]) -> tuple[list[list[Passage]], Tokens]:
        passages = self.splitter.split(documents)
        texts = [passage.encoded_text for each in passages for passage in each]
        return passages, self.tokenizer.tokens(texts)

    def check(self, cache: TokenCache, documents: Sequence[Document], *, hits: int) -> None:
        cached = self.through(cache)
        passages, tokens = cached.passages_and_tokens(documents)
        expected_passages, expected = self.plain(documents)
        assert passages == expected_passages
        assert tokens.ids.tolist() == expected.ids.tolist()
        assert tokens.offsets.tolist() == expected.offsets.tolist()
        assert (cached.hits, cached.misses) == (hits, len(documents) - hits)


@pytest.fixture(scope="module")
def setup(model: Any) -> Setup:
    return Setup(model)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[TokenCache]:
    with TokenCache(tmp_path / "tokens", 1 << 30, spare_bytes=0) as cache:
        yield cache


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenCache]:
    with TokenCache(tmp_path_factory.mktemp("tokens"), 1 << 30, spare_bytes=0) as cache:
        yield cache


def test_the_second_time_nothing_is_cut_or_tokenized(setup: Setup, cache: TokenCache) -> None:
    setup.check(cache, _DOCUMENTS, hits=0)
    before = setup.splitter.documents
    cached = setup.through(cache)
    passages, tokens = cached.passages_and_tokens(_DOCUMENTS[::-1])
    assert setup.splitter.documents == before
    expected, ids = setup.plain(_DOCUMENTS[::-1])
    assert (passages, tokens.ids.tolist()) == (expected, ids.ids.tolist())
    assert any(len(each) > 100 for each in passages)
    assert cached.hits == len(_DOCUMENTS)


_TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["A sentence. ", "世界。", "\n\n", "  ", "\u3000\x85", "🙂", "é", "word " * 40]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    ),
    max_size=25,
).map("".join)


@given(texts=st.lists(st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=4))
def test_any_document_comes_back_as_it_was(
    setup: Setup, shared: TokenCache, texts: list[tuple[str, str]]
) -> None:
    documents = [
        Document(str(number), text, title=title[:400])
        for number, (title, text) in enumerate(texts)
        if text.strip()
    ]
    setup.through(shared).passages_and_tokens(documents)
    setup.check(shared, documents, hits=len(documents))
    for passages in setup.through(shared).passages_and_tokens(documents)[0]:
        if len(passages) > 1:
            assert all(passage.text == passage.text.strip() != "" for passage in passages)


def test_no_documents_are_no_passages(setup: Setup, cache: TokenCache) -> None:
    setup.check(cache, [], hits=0)


def test_equal_documents_of_other_ids_are_tokenized_once(setup: Setup, cache: TokenCache) -> None:
    first, second = (Document(each, "The same text. " * 20, title="T") for each in "ab")
    before = setup.splitter.documents
    passages, _ = setup.through(cache).passages_and_tokens([first, second])
    assert setup.splitter.documents == before + 1
    assert [passage.document for each in passages for passage in each[:1]] == [first, second]


def test_new_documents_are_added_to_known_ones(setup: Setup, cache: TokenCache) -> None:
    setup.check(cache, _DOCUMENTS[::2], hits=0)
    setup.check(cache, _DOCUMENTS, hits=len(_DOCUMENTS[::2]))


def test_a_title_that_has_changed_is_seen(setup: Setup, cache: TokenCache) -> None:
    setup.check(cache, [Document("d", "text", title="one")], hits=0)
    setup.check(cache, [Document("d", "text", title="two")], hits=0)


@pytest.mark.parametrize(
    "change", [{"prompt": "passage: "}, {"window": _WINDOW - 1}], ids=["prompt", "window"]
)
def test_another_way_of_cutting_is_another_family(
    setup: Setup, model: Any, cache: TokenCache, change: dict[str, Any]
) -> None:
    setup.check(cache, _DOCUMENTS, hits=0)
    Setup(model, **change).check(cache, _DOCUMENTS, hits=0)
    setup.check(cache, _DOCUMENTS, hits=len(_DOCUMENTS))


def test_each_setting_is_part_of_the_digest(model: Any) -> None:
    digests = {
        PassageTokenizer(model, prompt, max_tokens).digest()
        for prompt, max_tokens in [("", 32), ("", 31), ("passage: ", 32), ("", 32)]
    }
    assert len(digests) == 3


@pytest.mark.parametrize("largest", [65_535, 65_536, 2**31 - 1])
def test_ids_of_a_large_vocabulary_stay_whole(largest: int) -> None:
    tokens = Tokens.of([[1, largest], [0]])
    content_hash = Document("d", "text").content_hash
    stored = TokenRecord.of(Windows(0, ((0, 2), (2, 4))), tokens).to_bytes(content_hash)
    record = TokenRecord.from_bytes(content_hash, stored)
    assert record is not None
    assert (record.ids.tolist(), record.lengths) == ([1, largest, 0], (2, 1))


def test_another_tokenizer_is_another_family_and_a_retrained_model_is_not(
    setup: Setup, model: Any, cache: TokenCache, tmp_path: Path
) -> None:
    setup.check(cache, _DOCUMENTS, hits=0)
    changed = load_model(tiny_model(tmp_path / "model", vocabulary=["heat"]), device="cpu")
    Setup(changed).check(cache, _DOCUMENTS, hits=0)
    model.save(str(tmp_path / "saved"), create_model_card=False)
    retrained = load_model(tmp_path / "saved", device="cpu")
    Setup(retrained).check(cache, _DOCUMENTS, hits=len(_DOCUMENTS))


def test_a_tokenizer_without_a_padding_token_will_do(
    without_padding: Any, cache: TokenCache
) -> None:
    Setup(without_padding).check(cache, _DOCUMENTS, hits=0)
    Setup(without_padding).check(cache, _DOCUMENTS, hits=len(_DOCUMENTS))


def test_a_cache_of_no_bytes_keeps_nothing(setup: Setup, tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "tokens", 0)
    for _ in range(2):
        setup.check(cache, _DOCUMENTS, hits=0)
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    "damage",
    [
        "CAST(substr(record, 1, 40) || x'07' || substr(record, 42) AS BLOB)",
        "x''",
        "CAST(record AS TEXT)",
        "x'00'",
    ],
)
def test_damaged_records_are_made_again(
    setup: Setup, cache: TokenCache, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    setup.check(cache, _DOCUMENTS, hits=0)
    assert cache._file is not None
    connection = cache._file.connection
    connection.execute(f"UPDATE records_1 SET record = {damage} WHERE key < 0")
    damaged = connection.execute("SELECT count(*) FROM records_1 WHERE key < 0").fetchone()[0]
    assert 0 < damaged < len(_DOCUMENTS)
    with caplog.at_level(logging.WARNING):
        setup.check(cache, _DOCUMENTS, hits=len(_DOCUMENTS) - damaged)
    assert [record.message for record in caplog.records] == [
        "The token cache holds damaged records; they are made again."
    ]
    setup.check(cache, _DOCUMENTS, hits=len(_DOCUMENTS))


def test_records_of_other_documents_are_not_taken(setup: Setup, cache: TokenCache) -> None:
    """As a damaged index might give them."""
    setup.check(cache, _DOCUMENTS, hits=0)
    assert cache._file is not None
    cache._file.connection.execute(
        "UPDATE records_1 SET record = (SELECT record FROM records_1 ORDER BY key LIMIT 1)"
    )
    setup.check(cache, _DOCUMENTS, hits=1)
