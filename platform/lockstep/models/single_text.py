"""One text through a model, without the library's sorting, batching and collecting."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.models.loading import fast_tokenizer, plain_copy
from lockstep.models.vectors import Vector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_PROBE = "how many documents does a query have to be compared with?"
_KNOWN_INPUTS = {"input_ids", "token_type_ids", "attention_mask"}
_SAME = 0.99999  # cosine


class SingleText:
    """Tokenizes one text and runs the model's own modules on it. Safe in several threads."""

    def __init__(self, model: "SentenceTransformer", prompt: str) -> None:
        tokenizer = fast_tokenizer(model)
        if tokenizer is None:
            raise ValueError("the model has no fast tokenizer")
        self._model = model
        self._prompt = prompt
        self._inputs = list(model.tokenizer.model_input_names)
        self._tokenizer = plain_copy(tokenizer)
        self._tokenizer.enable_truncation(int(model.max_seq_length or 0))

    def encode(self, text: str) -> Vector:
        import torch

        encoding = self._tokenizer.encode(self._prompt + text)
        columns = {
            "input_ids": encoding.ids,
            "token_type_ids": encoding.type_ids,
            "attention_mask": encoding.attention_mask,
        }
        with torch.inference_mode():
            features: dict[str, Any] = {
                name: torch.tensor([columns[name]], device=self._model.device)  # (1, tokens)
                for name in self._inputs
            }
            features["modality"] = "text"
            vector = self._model(features)["sentence_embedding"][0]  # (dim,)
            result: Vector = vector.float().cpu().numpy()
        return result


def single_text(model: "SentenceTransformer", prompt: str) -> SingleText | None:
    """The short way for this model and prompt; None where it would not give the same vectors."""
    if not _is_plain(model):
        return None
    single = SingleText(model, prompt)
    expected = model.encode_query([_PROBE], prompt=prompt, show_progress_bar=False)[0]
    actual = single.encode(_PROBE)
    if actual.shape != expected.shape:
        return None
    wide, other = np.asarray(expected, dtype=np.float64), actual.astype(np.float64)
    cosine = wide @ other / (np.linalg.norm(wide) * np.linalg.norm(other) or np.nan)
    return single if cosine >= _SAME else None


def _is_plain(model: "SentenceTransformer") -> bool:
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
        and processor.truncation_side == "right"
        and first.query_length is None
        and first.query_expansion is None
        and bool(model.max_seq_length)
    )
