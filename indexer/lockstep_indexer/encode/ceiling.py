"""What a processor or card can compute at most, and what a model's passages take of it."""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.models.device_memory import is_full
from lockstep_indexer.encode.attention import UNLIMITED, Window, window
from lockstep_indexer.encode.precision import has_bfloat16

_EVERYTHING: Window = (UNLIMITED, UNLIMITED)
_SIZE_ON_CARD, _SIZE, _LEAST_SIZE = 8192, 2048, 1024


def flops(inner: Any, lengths: NDArray[np.int64]) -> float:
    """Of passages of these lengths in tokens, by a model of transformers; NaN for another module.

    2 x in x out for each token and linear layer of its blocks, and 4 x heads x head size for each
    pair of tokens of which one attends to the other. Experts that are no linear layers of their own
    are not counted.
    """
    config: Any = getattr(inner, "config", None)
    layers = getattr(config, "num_hidden_layers", None)
    heads = getattr(config, "num_attention_heads", None)
    if not layers or not heads:
        return float("nan")
    windows = _windows(inner) or [_EVERYTHING] * layers
    rounds = layers / len(windows)  # more than one where layers share their weights
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    seen = sum(_pairs(lengths, window) for window in windows)
    return float(rounds * (_per_token(inner) * lengths.sum() + 4 * heads * head_dim * seen))


def _per_token(inner: torch.nn.Module) -> int:
    """Of the linear layers in blocks: a pooler or a head sees one token of a passage, or none."""
    blocks = [module for module in inner.modules() if isinstance(module, torch.nn.ModuleList)]
    linear = {
        module: 2 * module.in_features * module.out_features
        for block in blocks
        for module in block.modules()
        if isinstance(module, torch.nn.Linear)
    }
    return sum(linear.values())


def _windows(inner: torch.nn.Module) -> list[Window]:
    """Of each layer that transformers' attention interface is used in."""
    return [
        window(module, getattr(module, "sliding_window", None))
        for module in inner.modules()
        if hasattr(module, "is_causal")
    ]


def _pairs(lengths: NDArray[np.int64], window: Window) -> float:
    """Pairs of a token and one that it sees, itself among them, in passages of these lengths."""
    tokens = lengths.astype(np.float64)
    sides = (_side(tokens, reach) for reach in window)
    return float((tokens + sum(sides)).sum())


def _side(tokens: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Pairs at most `reach` tokens apart, which one token sees on one side of it."""
    furthest = np.maximum(tokens - 1, 0)
    near = furthest if reach == UNLIMITED else np.minimum(reach, furthest)
    pairs: NDArray[np.float64] = near * tokens - near * (near + 1) / 2
    return pairs


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
