"""Documents to passages and tokens, through the token cache."""

import hashlib
import logging
from collections.abc import Sequence

import numpy as np

from lockstep.corpus.documents import Document
from lockstep.index.passages import Passage, PassageSplitter
from lockstep_indexer.encode.token_cache import TokenCache
from lockstep_indexer.encode.token_families import Family
from lockstep_indexer.encode.token_records import RECORD_VERSION, TokenRecord
from lockstep_indexer.encode.tokenizing import PassageTokenizer
from lockstep_indexer.encode.tokens import Tokens

logger = logging.getLogger(__name__)


class CachedTokenizer:
    """Splits and tokenizes documents that the cache does not know. For one thread.

    What comes out is the same with and without a cache. `hits` and `misses` count documents.
    """

    def __init__(
        self,
        splitter: PassageSplitter,
        tokenizer: PassageTokenizer,
        cache: TokenCache,
        *,
        model: str,
    ) -> None:
        """`model` is the digest of the model version; its records live as long as it does."""
        self.hits = 0
        self.misses = 0
        self._told_of_damage = False
        self._splitter = splitter
        self._tokenizer = tokenizer
        self._cache = cache
        self._family = family_of(splitter, tokenizer, model)
        cache.start(self._family)

    @property
    def asks_cache(self) -> bool:
        """Whether there is a cache at all."""
        return self._cache.is_on

    def passages_and_tokens(
        self, documents: Sequence[Document]
    ) -> tuple[list[list[Passage]], Tokens]:
        """The passages of each document, and the tokens of all of them in that order.

        Raises InvalidInput where a text is not Unicode.
        """
        wanted = {document.content_hash: document for document in documents}
        records = self._known(list(wanted))
        missing = {each: wanted[each] for each in wanted if each not in records}
        records |= self._made(missing)
        self.misses += len(missing)
        self.hits += len(documents) - len(missing)
        each = [records[document.content_hash] for document in documents]
        passages = [
            record.windows.passages(document)
            for record, document in zip(each, documents, strict=True)
        ]
        lengths = np.fromiter((length for record in each for length in record.lengths), np.int64)
        return passages, Tokens.joined([record.ids for record in each], lengths)

    def _known(self, hashes: Sequence[str]) -> dict[str, TokenRecord]:
        found = self._cache.get(self._family, hashes)
        read = ((each, TokenRecord.from_bytes(each, stored)) for each, stored in found.items())
        known = {each: record for each, record in read if record is not None}
        if len(known) < len(found) and not self._told_of_damage:
            self._told_of_damage = True
            logger.warning("The token cache holds damaged records; they are made again.")
        return known

    def _made(self, missing: dict[str, Document]) -> dict[str, TokenRecord]:
        if not missing:
            return {}
        windows = self._splitter.windows(list(missing.values()))
        texts = [
            passage.encoded_text
            for each, document in zip(windows, missing.values(), strict=True)
            for passage in each.passages(document)
        ]
        tokens = self._tokenizer.tokens(texts)
        made: dict[str, TokenRecord] = {}
        start = 0
        for each, content_hash in zip(windows, missing, strict=True):
            end = start + len(each.spans)
            made[content_hash] = TokenRecord.of(each, tokens.between(start, end))
            start = end
        stored = {each: record.to_bytes(each) for each, record in made.items()}
        self._cache.put(self._family, stored)
        return made


def family_of(splitter: PassageSplitter, tokenizer: PassageTokenizer, model: str) -> Family:
    """Where a build by the model version of this digest looks for tokens."""
    parts = (str(RECORD_VERSION), splitter.digest(), tokenizer.digest())
    return Family(hashlib.sha256(":".join(parts).encode()).hexdigest(), model)
