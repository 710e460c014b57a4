"""Padded batches of like lengths through a model's own torch modules: any model, any device."""

from typing import TYPE_CHECKING, Any

import torch

from lockstep.models.vectors import Vector
from lockstep_indexer.encode.batches import Budget, longest_first, padded_end, restored
from lockstep_indexer.encode.card import halving
from lockstep_indexer.encode.precision import least_cosine, unit
from lockstep_indexer.encode.routes import Check, go_on
from lockstep_indexer.encode.structure import moved_copy
from lockstep_indexer.encode.tokens import Tokens

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_CARD_TOKENS = 65_536
_CPU_TOKENS = 2_048


class PaddedRoute:
    """Passages on rows of one length each batch, masked beyond their own.

    In single precision on a CPU it runs the model itself, else a copy.
    """

    in_fp8 = False

    def __init__(
        self,
        model: "SentenceTransformer",
        *,
        prompt_tokens: int = 0,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        budget: Budget | None = None,
    ) -> None:
        as_it_is = device == "cpu" and dtype == torch.float32
        self._model = (model if as_it_is else moved_copy(model, device, dtype)).eval()
        tokenizer: Any = model.tokenizer
        self._inputs = tuple(tokenizer.model_input_names)
        self._padding = int(tokenizer.pad_token_id or 0)  # masked: any token does
        self._prompt_tokens = prompt_tokens
        self.device = device
        self._budget = budget or Budget(_CARD_TOKENS if device.startswith("cuda") else _CPU_TOKENS)
        self.name = f"padded, {str(dtype).removeprefix('torch.')}, on {device}"
        self.min_cosine = least_cosine(device)

    @torch.inference_mode()
    def encode(self, tokens: Tokens, *, check: Check = go_on) -> Vector:
        order = longest_first(tokens)
        ordered = tokens.take(order)
        parts: list[torch.Tensor] = []
        halving(
            len(ordered),
            lambda start, budget: padded_end(ordered.lengths, start, budget),
            lambda start, end: parts.append(self._batch(ordered.between(start, end))),
            self._budget,
            lambda start, end: int(ordered.lengths[start]) * (end - start),
            self.device,
            check,
        )
        vectors: Vector = torch.cat(parts).cpu().numpy()
        return vectors[restored(order)]

    def _batch(self, passages: Tokens) -> torch.Tensor:
        """(passages, dim), on the device."""
        ids, mask = (
            torch.from_numpy(column).to(self.device, non_blocking=True)
            for column in passages.columns(passages.longest, self._padding)
        )  # (passages, length)
        known = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": torch.zeros_like(ids),
        }
        features: dict[str, Any] = {name: known[name] for name in self._inputs}
        features["modality"] = "text"
        if self._prompt_tokens:
            features["prompt_length"] = self._prompt_tokens
        return unit(self._model(features)["sentence_embedding"])
