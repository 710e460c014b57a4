"""Batches without padding: passages stand one after the other, attention stays within each."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lockstep.models.vectors import Vector
from lockstep_indexer.encode.batches import Budget, longest_first, packed_end, restored
from lockstep_indexer.encode.card import found_budget, halving
from lockstep_indexer.encode.fp8 import use_fp8
from lockstep_indexer.encode.precision import least_cosine, unit
from lockstep_indexer.encode.routes import Check, RouteRefused, go_on
from lockstep_indexer.encode.slabs import Slab, Slabs
from lockstep_indexer.encode.structure import (
    NotPackable,
    Parts,
    moved_copy,
    shared_copy,
    use_packed_attention,
)
from lockstep_indexer.encode.tokens import Tokens

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_CPU_TOKENS = 4_096


class PackedRoute:
    """Any transformers model that leaves its attention to a registered function.

    Raises RouteRefused for other models.
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        *,
        prompt_tokens: int = 0,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
        fp8: bool = False,
        budget: Budget | None = None,
    ) -> None:
        """`fp8` is of the linear layers; all else is in `dtype`, which is bfloat16 then."""
        try:
            Parts.of(model)  # before anything is copied
            as_it_is = device == "cpu" and dtype == torch.float32 and not fp8
            copied = shared_copy(model) if as_it_is else moved_copy(model, device, dtype)
            self._parts = Parts.of(copied.eval())
            use_packed_attention(self._parts.transformer.model)
        except NotPackable as error:
            raise RouteRefused(str(error)) from error
        for module in self._parts.tail:
            module.float()
        inner = self._parts.transformer.model
        if fp8 and not use_fp8(inner):
            raise RouteRefused("it has no linear layers of sizes that fp8 takes")
        self._forward: Any = torch.compile(inner, dynamic=True) if compiled else inner
        self._prompt_tokens = prompt_tokens
        self.device = device
        kind = "packed and compiled" if compiled else "packed"
        layers = " with fp8 linear layers" if fp8 else ""
        self.name = f"{kind}, {str(dtype).removeprefix('torch.')}{layers}, on {device}"
        self.in_fp8 = fp8
        self.min_cosine = least_cosine(device, fp8=fp8)
        self._slabs = Slabs(device)
        self._budget = budget or self._found()

    def encode(self, tokens: Tokens, *, check: Check = go_on) -> Vector:
        order = longest_first(tokens)
        vectors = self._slabs.run(tokens.take(order), lambda slab: self._slab(slab, check))
        return vectors[restored(order)]

    @torch.inference_mode()
    def _slab(self, slab: Slab, check: Check) -> torch.Tensor:
        """(passages, dim) on the device, of passages in order of length."""
        parts: list[torch.Tensor] = []
        offsets = slab.tokens.offsets
        halving(
            len(slab.tokens),
            lambda start, budget: packed_end(offsets, start, budget),
            lambda start, end: parts.append(self._batch(slab, start, end)),
            self._budget,
            lambda start, end: int(offsets[end] - offsets[start]),
            self.device,
            check,
        )
        return torch.cat(parts)

    def _batch(self, slab: Slab, start: int, end: int) -> torch.Tensor:
        offsets = slab.tokens.offsets
        first, last = int(offsets[start]), int(offsets[end])
        starts = (slab.offsets[start : end + 1] - first).to(torch.int32)
        longest = int(slab.tokens.lengths[start])
        # Without its size, which the host knows, the card would have to be waited for.
        rows = torch.repeat_interleave(
            torch.arange(end - start, device=self.device),
            starts[1:] - starts[:-1],
            output_size=last - first,
        )
        ids = slab.ids[first:last].long()
        return self._pooled(
            {
                "input_ids": ids[None],
                "position_ids": _positions(ids, starts, rows, self._parts.padding_id)[None],
                "cu_seq_lens_q": starts,
                "cu_seq_lens_k": starts,
                "max_length_q": longest,
                "max_length_k": longest,
            },
            rows,
        )

    def _pooled(self, batch: dict[str, Any], rows: torch.Tensor) -> torch.Tensor:
        """(passages, dim): the library's own pooling, which knows packed batches."""
        parts = self._parts
        features: dict[str, Any] = {
            "token_embeddings": self._forward(**batch).last_hidden_state,  # (1, tokens, hidden)
            "cu_seq_lens_q": batch["cu_seq_lens_q"],
            "seq_idx": rows[None],
            "modality": "text",
        }
        if self._prompt_tokens:
            features["prompt_length"] = self._prompt_tokens
        for module in (*parts.middle, parts.pooling):
            features = module(features)
        features["sentence_embedding"] = features["sentence_embedding"].float()
        for module in parts.tail:
            features = module(features)
        return unit(features["sentence_embedding"])

    def _found(self) -> Budget:
        if not self.device.startswith("cuda"):
            return Budget(_CPU_TOKENS)
        longest = int(self._parts.transformer.max_seq_length)
        return found_budget(self.device, lambda tokens: self._try(tokens, longest))

    @torch.inference_mode()
    def _try(self, tokens: int, longest: int) -> int:
        """A batch of as many tokens, as passages of the greatest length; how many there were."""
        length = min(longest, tokens)
        count = max(1, tokens // length)
        passages = Tokens(
            np.zeros(count * length, np.int32), np.arange(count + 1, dtype=np.int64) * length
        )
        slab = self._slabs.load(passages)
        self._slabs.await_loaded()
        self._batch(slab, 0, count)
        return count * length


def _positions(
    ids: torch.Tensor, starts: torch.Tensor, rows: torch.Tensor, padding_id: int | None
) -> torch.Tensor:
    """(tokens,): each token's position in its passage.

    Where there is a `padding_id`, tokens of that id have it as their position, and the others count
    on from it: the first of a passage has the next.
    """
    if padding_id is None:
        return torch.arange(len(ids), device=ids.device) - starts[rows]
    counted = (ids != padding_id).long()
    until = torch.cumsum(counted, 0)  # the tokens counted up to each, those of passages before too
    before = (until - counted)[starts[:-1]]  # (passages,)
    return (until - before[rows]) * counted + padding_id
