"""Passages are tokenized as the library does it, however long or odd they are."""

from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from lockstep.errors import InvalidInput
from lockstep.models.loading import fast_tokenizer
from lockstep_indexer.encode.tokenizing import NotPlainTokens, PassageTokenizer, _Cut

_TEXTS = [
    "",
    " ",
    "a",
    "Heat in slabs",
    "🙂🙃🚀",
    "\x00\x07\x1b[0m\u200b",
    "世界 äöü",
    "long " * 900,
]


@pytest.mark.parametrize("prompt", ["", "passage: "])
@pytest.mark.parametrize("max_tokens", [64, 32, 3])
def test_ids_are_those_that_the_library_feeds(model: Any, prompt: str, max_tokens: int) -> None:
    tokens = PassageTokenizer(model, prompt, max_tokens).tokens(_TEXTS)
    assert model.max_seq_length == max_tokens
    for row, text in enumerate(_TEXTS):
        features = model.preprocess([text], prompt=prompt)
        assert tokens.passage(row).tolist() == features["input_ids"][0].tolist()
    assert tokens.longest == max_tokens


def test_no_texts_are_no_passages(model: Any) -> None:
    assert len(PassageTokenizer(model, "", 64).tokens([])) == 0


def test_a_text_that_is_no_unicode_is_named(model: Any) -> None:
    with pytest.raises(InvalidInput, match="text 2 of 2"):
        PassageTokenizer(model, "", 64).tokens(["fine", "\ud800"])


def test_a_tokenizer_without_a_padding_token_will_do(without_padding: Any, model: Any) -> None:
    ours, theirs = (PassageTokenizer(each, "p: ", 64) for each in (without_padding, model))
    assert ours.tokens(_TEXTS).ids.tolist() == theirs.tokens(_TEXTS).ids.tolist()


def test_a_model_that_reads_more_than_tokens_is_refused() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    static = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=4)], device="cpu")
    with pytest.raises(NotPlainTokens, match="more than the tokens"):
        PassageTokenizer(static, "", 64)


class TestLongTexts:
    """A text of a million words is not tokenized to its end, and no id changes by that."""

    @pytest.mark.parametrize("word", ["wing of a plane, ", "\x00 ", "🙂 of 世界 ", "[SEP] a "])
    def test_no_id_changes(self, model: Any, word: str) -> None:
        tokenizer = PassageTokenizer(model, "", 64)
        own = fast_tokenizer(model)
        assert own is not None
        own.no_padding()
        own.enable_truncation(64)
        for text in (word * 3000, "wing " * 205 + word * 900):
            assert tokenizer.tokens([text]).ids.tolist() == own.encode(text).ids

    def test_most_of_it_is_left_out(self, model: Any) -> None:
        tokenizer = fast_tokenizer(model)
        assert tokenizer is not None
        assert len(_Cut(tokenizer, 64).shorten("word of a plane " * 60_000)) < 10_000

    def test_nothing_is_left_out_where_tokens_could_change(self, model: Any) -> None:
        """Without spaces, with too few tokens, or where words are not tokenized by themselves."""
        tokenizer = fast_tokenizer(model)
        assert tokenizer is not None
        cut = _Cut(tokenizer, 64)
        for text in ("x" * 50_000, " " * 40_000 + "at last"):
            assert cut.shorten(text) == text
        whole = Tokenizer(models.BPE())
        spanning = "wing of a plane " * 5_000
        assert _Cut(whole, 64).shorten(spanning) == spanning
        whole.pre_tokenizer = pre_tokenizers.ByteLevel(use_regex=False)
        assert _Cut(whole, 64).shorten(spanning) == spanning
