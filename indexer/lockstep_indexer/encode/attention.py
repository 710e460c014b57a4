"""Attention within passages that stand one after the other, as transformers calls it."""

from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "lockstep_packed"
UNLIMITED = -1  # as far as the passage goes

Window = tuple[int, int]  # tokens before and after one that it attends to


class NotSupported(Exception):
    """The model asks for attention of a kind that packed batches do not have."""


def register() -> None:
    """Make it known to transformers as the attention implementation NAME.

    No mask of the same name is registered, so models build none.
    """
    AttentionInterface.register(NAME, packed_attention)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # (1, heads, tokens, head dim)
    key: torch.Tensor,  # (1, key heads, tokens, head dim)
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """(1, tokens, heads, head dim). Raises NotSupported."""
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name)]
    if attention_mask is not None or unknown:
        raise NotSupported(f"attention with {', '.join(unknown) or 'a mask'}")
    seen = window(module, sliding_window)
    flat = [states[0].transpose(0, 1) for states in (query, key, value)]  # (tokens, heads, dim)
    starts = kwargs["cu_seq_lens_q"]
    if query.device.type == "cpu":
        output = _by_passage(flat, starts, scaling, seen)
    else:
        output = _by_kernel(flat, starts, kwargs["max_length_q"], scaling, seen)
    return output[None], None


def window(module: torch.nn.Module, size: int | None) -> Window:
    """How many tokens before and after it a token attends to."""
    before = UNLIMITED if size is None else size - 1
    config = getattr(module, "config", None)
    causal = getattr(module, "is_causal", False) and getattr(config, "is_causal", True)
    return (before, 0) if causal else (before, before)


def _by_kernel(
    flat: list[torch.Tensor],
    starts: torch.Tensor,
    longest: int,
    scaling: float | None,
    window: Window,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = flat
    output: Any = varlen_attn(
        query,
        key,
        value,
        starts,
        starts,
        longest,
        longest,
        scale=scaling,
        window_size=window,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    # Typed as a tensor or a pair; it is a pair only where more than the output is asked for.
    return output  # type: ignore[no-any-return]


def _by_passage(
    flat: list[torch.Tensor], starts: torch.Tensor, scaling: float | None, window: Window
) -> torch.Tensor:
    """The same where torch has no kernel for it: one call for each passage."""
    bounds = starts.tolist()
    parts = []
    for begin, end in pairwise(bounds):
        query, key, value = (states[begin:end].transpose(0, 1)[None] for states in flat)
        parts.append(
            scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=_seen(end - begin, window, query.device),
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )[0].transpose(0, 1)
        )
    return torch.cat(parts)  # (tokens, heads, dim)


def _seen(tokens: int, window: Window, device: torch.device) -> torch.Tensor | None:
    before, after = window
    if before == after == UNLIMITED:
        return None
    positions = torch.arange(tokens, device=device)
    apart = positions[:, None] - positions[None, :]  # (query, key), positive for what came before
    seen = torch.ones_like(apart, dtype=torch.bool)
    if before != UNLIMITED:
        seen &= apart <= before
    if after != UNLIMITED:
        seen &= apart >= -after
    return seen
