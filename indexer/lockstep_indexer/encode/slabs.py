"""Passages on their way to a device and vectors on their way back, while it computes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lockstep.models.vectors import Vector
from lockstep_indexer.encode.batches import packed_end
from lockstep_indexer.encode.tokens import Tokens

_TOKENS = 4_194_304  # 16 MiB of ids


@dataclass(frozen=True)
class Slab:
    """Some passages, on the device as well."""

    tokens: Tokens
    ids: torch.Tensor  # (total,), int32
    offsets: torch.Tensor  # (passages + 1,), int64


class Slabs:
    """Cuts passages into slabs of many batches each, which are copied as a whole.

    On a CUDA card copies go by streams of their own: the next slab goes there and the vectors of
    the last one come back while this one is computed.
    """

    def __init__(self, device: str, *, tokens: int = _TOKENS) -> None:
        self._device = device
        self._tokens = tokens
        self._on_card = device.startswith("cuda")
        if self._on_card:
            self._there, self._back = _stream(device), _stream(device)

    def run(self, tokens: Tokens, compute: Callable[[Slab], torch.Tensor]) -> Vector:
        """(n, dim), what `compute` gives for each slab, (its passages, dim) on the device."""
        if not len(tokens):
            return np.zeros((0, 0), dtype=np.float32)
        bounds = self._bounds(tokens)
        results: list[torch.Tensor] = []
        following = self.load(tokens.between(*bounds[0]))
        for number in range(len(bounds)):
            slab = following
            self.await_loaded()
            if number + 1 < len(bounds):
                following = self.load(tokens.between(*bounds[number + 1]))
            results.append(self._fetched(compute(slab)))
        if self._on_card:
            self._back.synchronize()
        vectors: Vector = torch.cat(results).numpy()
        return vectors

    def await_loaded(self) -> None:
        """Have what is computed next wait for what was loaded."""
        if self._on_card:
            torch.cuda.current_stream(self._device).wait_stream(self._there)

    def load(self, tokens: Tokens) -> Slab:
        arrays = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.offsets)
        if not self._on_card:
            ids, offsets = (each.to(self._device) for each in arrays)
            return Slab(tokens, ids, offsets)
        with torch.cuda.stream(self._there):
            ids, offsets = (
                each.pin_memory().to(self._device, non_blocking=True) for each in arrays
            )
        for each in (ids, offsets):  # their memory may not be given away while they are read
            each.record_stream(torch.cuda.current_stream(self._device))
        return Slab(tokens, ids, offsets)

    def _bounds(self, tokens: Tokens) -> list[tuple[int, int]]:
        bounds = []
        start = 0
        while start < len(tokens):
            end = packed_end(tokens.offsets, start, self._tokens)
            bounds.append((start, end))
            start = end
        return bounds

    def _fetched(self, vectors: torch.Tensor) -> torch.Tensor:
        """In the host's memory; on a card, once that stream is synchronised."""
        if not self._on_card:
            return vectors.cpu()
        self._back.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._back):
            host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
            host.copy_(vectors, non_blocking=True)
        vectors.record_stream(self._back)
        return host


def _stream(device: str) -> torch.cuda.Stream:
    # torch has no types for its constructor.
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
