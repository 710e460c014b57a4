"""Passages to token ids, exactly those that sentence-transformers would give its model."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from lockstep.models.loading import fast_tokenizer, plain_copy, tokenizer_digest
from lockstep.models.query_tokens import reads_plain_text
from lockstep.models.texts import check_unicode
from lockstep_indexer.encode.tokens import Tokens

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_CHARACTERS_A_TOKEN = 16  # generous: a longer text is first tried cut
_WORD_END = re.compile(r"[a-z](?= [a-z])")
_SAMPLE = ("", "a", "two words", "Übergrößen, 世界 🙂 #42", "\x00\x07 \u200b", "long " * 9000)


class NotPlainTokens(Exception):
    """Token ids alone do not say what the model would read; the text says why."""


class PassageTokenizer:
    """Tokenizes passages, the document prompt before them, truncated. Safe in threads.

    Batches are tokenized on all cores. Raises NotPlainTokens for a model whose input is more than
    the ids of one text.
    """

    def __init__(self, model: "SentenceTransformer", prompt: str, max_tokens: int) -> None:
        own = fast_tokenizer(model)
        if own is None or not _reads_tokens(model, max_tokens):
            raise NotPlainTokens("it reads more than the tokens of a plain text")
        self.prompt = prompt
        self.max_tokens = max_tokens
        self._tokenizer = plain_copy(own)
        self._tokenizer.enable_truncation(max_tokens)
        self._cut = _Cut(own, max_tokens)
        self._check(model)

    def digest(self) -> str:
        """Of all that decides the ids of a text."""
        described = json.dumps([tokenizer_digest(self._tokenizer), self.prompt, self.max_tokens])
        return hashlib.sha256(described.encode()).hexdigest()

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Raises InvalidInput where a text is not Unicode."""
        check_unicode(texts, quote=True)
        begun = [self._cut.shorten(self.prompt + text) for text in texts]
        return Tokens.of([each.ids for each in self._tokenizer.encode_batch_fast(begun)])

    def _check(self, model: "SentenceTransformer") -> None:
        """Each sample as the library gives it to the model."""
        for text, ids in zip(_SAMPLE, _rows(self.tokens(_SAMPLE)), strict=True):
            if not ids:
                continue
            read = self._read(model, text)
            if read["input_ids"] != ids:
                raise NotPlainTokens(f"its own tokenizer gives other ids for {text[:20]!r}")
            if any(read.get("token_type_ids", ())) or not all(read["attention_mask"]):
                raise NotPlainTokens("its tokens have types, or are not all attended to")

    def _read(self, model: "SentenceTransformer", text: str) -> dict[str, list[int]]:
        tokenizer: Any = model.tokenizer
        if tokenizer.pad_token is None:  # which `preprocess` wants even for one text
            read = tokenizer(self.prompt + text, truncation=True, max_length=self.max_tokens)
            return {name: list(column) for name, column in read.items()}
        features = model.preprocess([text], prompt=self.prompt)
        columns = ("input_ids", "token_type_ids", "attention_mask")
        return {name: features[name][0].tolist() for name in columns if name in features}


def _reads_tokens(model: "SentenceTransformer", max_tokens: int) -> bool:
    try:
        model.max_seq_length = max_tokens
    except AttributeError:  # of static embeddings, which have no such limit
        return False
    return reads_plain_text(model)


def _rows(tokens: Tokens) -> list[list[int]]:
    return [tokens.passage(row).tolist() for row in range(len(tokens))]


class _Cut:
    """Leaves out the end of long texts where it cannot change what is left by truncation.

    A cut falls between two words of ASCII letters, and only for tokenizers that tokenize such words
    each by itself. Then nothing before it can change, except an added token that would span it;
    so there have to be more tokens before the cut than truncation leaves.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._characters = _CHARACTERS_A_TOKEN * max(max_tokens, 64)
        added = tokenizer.get_added_tokens_decoder().values()
        spanning = max((len(token.content) for token in added), default=0)
        self._counting = plain_copy(tokenizer)
        self._enough = max_tokens + 4 * spanning + 16  # a character is four tokens at most
        self._counting.enable_truncation(self._enough)
        self._possible = _splits_words(tokenizer)

    def shorten(self, text: str) -> str:
        size = self._characters
        while self._possible and 2 * size < len(text):
            ends = [match.end() for match in _WORD_END.finditer(text, size - 256, size)]
            if ends:
                begun = text[: ends[-1]]
                if len(self._counting.encode(begun, add_special_tokens=False).ids) >= self._enough:
                    return begun
            size *= 4
        return text


def _splits_words(tokenizer: Tokenizer) -> bool:
    pre = tokenizer.pre_tokenizer
    if pre is None:
        return False
    both = pre.pre_tokenize_str("alpha beta")
    return len(both) > 1 and both[0] == pre.pre_tokenize_str("alpha")[0]
