"""Windows: they fit the model, lose no text, and end where sentences end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lockstep.corpus.documents import Document
from lockstep.index.passages import Passage, PassageSplitter, point_id


def word_tokenizer() -> Tokenizer:
    """One token per word or punctuation mark, and two special tokens per text."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


TOKENIZER = word_tokenizer()


def split(text: str, *, title: str = "", window: int = 16) -> list[Passage]:
    return PassageSplitter(TOKENIZER, window).split([Document("d", text, title)])[0]


def tokens(text: str) -> int:
    return len(TOKENIZER.encode(text).ids)


def test_a_short_document_is_one_passage() -> None:
    (passage,) = split("Just this.", title="Short")
    assert (passage.number, passage.count) == (0, 1)
    assert passage.text == "Just this."
    assert passage.encoded_text == "Short\nJust this."


def test_windows_end_at_sentence_ends() -> None:
    text = "One two three four five. Six seven eight nine. Ten eleven twelve thirteen fourteen."
    assert [p.text for p in split(text)] == [
        "One two three four five. Six seven eight nine.",
        "Ten eleven twelve thirteen fourteen.",
    ]


def test_a_sentence_longer_than_a_window_is_cut_between_words() -> None:
    words = [f"w{n}" for n in range(40)]
    passages = split(" ".join(words))
    assert " ".join(p.text for p in passages) == " ".join(words)
    assert all(tokens(p.encoded_text) <= 16 for p in passages)


def test_a_long_sentence_is_not_cut_inside_a_word() -> None:
    pieces = word_tokenizer()
    pieces.pre_tokenizer = pre_tokenizers.Sequence(  # three letters a token
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.FixedLength(3)]
    )
    text = " ".join(["alphabet", "beta", "gammaray"] * 10)
    (passages,) = PassageSplitter(pieces, 16).split([Document("d", text)])
    assert " ".join(p.text for p in passages) == text
    assert {word for p in passages for word in p.text.split()} == {"alphabet", "beta", "gammaray"}


def test_every_window_keeps_the_title() -> None:
    passages = split("alpha beta gamma. " * 20, title="The title")
    assert len(passages) > 1
    assert all(p.encoded_text.startswith("The title\n") for p in passages)


def test_a_long_title_leaves_room_for_the_text() -> None:
    passages = split("alpha beta gamma. " * 20, title="word " * 30)
    assert all(tokens(p.encoded_text) <= 16 for p in passages)
    assert passages[0].document.title == "word " * 30


def test_a_prompt_takes_its_tokens_from_the_window() -> None:
    splitter = PassageSplitter(TOKENIZER, 16, prompt="passage for retrieval :")
    (passages,) = splitter.split([Document("d", "alpha beta gamma. " * 20)])
    assert all(tokens(p.encoded_text) + 4 <= 16 for p in passages)


def test_chinese_sentences_end_without_spaces() -> None:
    text = "春天来了。花儿开了。" * 8
    tokenizer = word_tokenizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    passages = PassageSplitter(tokenizer, 16).split([Document("d", text)])[0]
    assert "".join(p.text for p in passages) == text
    assert all(p.text.endswith("。") for p in passages)


@given(
    st.lists(st.sampled_from(["word", "two words", "end.", "ask?", "\n", "(x)"]), min_size=1),
    st.integers(min_value=8, max_value=40),
    st.sampled_from(["", "Title", "a rather long title with many words in it"]),
)
def test_windows_fit_and_lose_nothing(pieces: list[str], window: int, title: str) -> None:
    text = " ".join(pieces)
    if not text.strip():
        return
    passages = split(text, title=title, window=window)
    assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())
    assert all(tokens(p.encoded_text) <= window for p in passages)
    assert [p.number for p in passages] == list(range(passages[0].count))


@pytest.mark.parametrize("other", [("a", 1), ("b", 0), ("a0", 0), ("", 10)])
def test_point_ids_differ_by_document_and_number(other: tuple[str, int]) -> None:
    assert point_id("a", 0) == point_id("a", 0)
    assert point_id("a", 0) != point_id(*other)
