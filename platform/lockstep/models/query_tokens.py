"""Queries as a model's input: tokens, padded to few different lengths."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from lockstep.models.loading import fast_tokenizer, plain_copy

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

Columns = dict[str, NDArray[np.int64]]  # by input name, each (queries, tokens)

_KNOWN_INPUTS = {"input_ids", "token_type_ids", "attention_mask"}
# Up to so many tokens, in steps of. All are multiples of the 16 numbers that a processor adds at
# once: of 24 it adds the last 8 in another way where it knows the length beforehand, and one query
# in seven gets other last bits.
_STEPS = ((64, 16), (128, 32), (512, 64))
_WIDEST_STEP = 256


class QueryTokens:
    """Tokenizes queries, the prompt before them, as the model itself does. Safe in threads."""

    def __init__(self, model: "SentenceTransformer | CrossEncoder", prompt: str) -> None:
        tokenizer = fast_tokenizer(model)
        if tokenizer is None:
            raise ValueError("the model has no fast tokenizer")
        self.inputs: tuple[str, ...] = tuple(model.tokenizer.model_input_names)
        self._prompt = prompt
        self._padding = int(model.tokenizer.pad_token_id or 0)
        self._tokenizer = plain_copy(tokenizer)
        self._tokenizer.enable_truncation(int(model.max_seq_length or 0))

    def encode(self, text: str) -> Encoding:
        encoding: Encoding = self._tokenizer.encode(self._prompt + text)
        return encoding

    def columns(self, queries: Sequence[Encoding], length: int) -> Columns:
        """Each query on a row of `length` tokens, those that pad it masked."""
        size = (len(queries), length)
        ids = np.full(size, self._padding, dtype=np.int64)
        types, mask = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
        for row, query in enumerate(queries):
            used = len(query.ids)
            ids[row, :used] = query.ids
            types[row, :used] = query.type_ids
            mask[row, :used] = query.attention_mask
        named = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
        return {name: named[name] for name in self.inputs}


def padded_length(tokens: int, most: int) -> int:
    """The length that so many tokens are padded to: a compiled model pays for each new one."""
    step = next((step for end, step in _STEPS if tokens <= end), _WIDEST_STEP)
    return min(-(-tokens // step) * step, most)


def reads_plain_text(model: "SentenceTransformer | CrossEncoder") -> bool:
    """Whether the model reads tokens of plain text, with nothing that depends on the task."""
    from sentence_transformers.base.modules import Transformer
    from transformers import PreTrainedTokenizerFast

    first: Any = model[0]
    if type(first) is not Transformer or "message" in first.modality_config:
        return False
    processor = first.processor
    return (
        isinstance(processor, PreTrainedTokenizerFast)
        and set(processor.model_input_names) <= _KNOWN_INPUTS
        and "attention_mask" in processor.model_input_names
        and processor.truncation_side == "right"
        and first.query_length is None
        and first.query_expansion is None
        and bool(model.max_seq_length)
    )
