"""What a processor or card can compute at most, and what a model's passages take of it."""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.models.device_memory import is_full
from lockstep_indexer.encode.precision import has_bfloat16

_SIZE_ON_CARD, _SIZE, _LEAST_SIZE = 8192, 2048, 1024


def flops(config: Any, lengths: NDArray[np.int64]) -> float:
    """Of passages of these lengths in tokens; NaN for a model whose shape is told otherwise.

    2 L (4 h^2 + 2 h f) for each token, and 4 L h for each pair of tokens that attend to each other.
    """
    try:
        layers, hidden = config.num_hidden_layers, config.hidden_size
        inner = config.intermediate_size
    except AttributeError:
        return float("nan")
    each = 2 * layers * (4 * hidden**2 + 2 * hidden * inner)
    pairs = float((lengths.astype(np.float64) ** 2).sum())
    return float(each * lengths.sum() + 4 * layers * hidden * pairs)


def matmul_ceiling(device: str) -> float:
    """FLOP/s of one large product of matrices, in the fastest format that models are run in.

    NaN where a card has not even the memory for a small one.
    """
    size = _SIZE_ON_CARD if device.startswith("cuda") else _SIZE
    while size >= _LEAST_SIZE:
        try:
            return _matmul_rate(device, size)
        except RuntimeError as error:
            if not is_full(error):
                raise
        torch.cuda.empty_cache()
        size //= 2
    return float("nan")


def _matmul_rate(device: str, size: int) -> float:
    on_card = device.startswith("cuda")
    half = on_card or has_bfloat16()
    dtype = (torch.float16 if on_card else torch.bfloat16) if half else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    fastest = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        left @ right
        if on_card:
            torch.cuda.synchronize(device)
        fastest = min(fastest, time.perf_counter() - started)
    return float(2 * size**3 / fastest)
