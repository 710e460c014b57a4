"""Batches that go through the model in groups of like length, so that little is padded.

A batch is padded to its longest text, and on a CPU a padded token costs what a real one does.
Vectors, loss and gradients are the same in groups: to the loss the batch is one.
"""

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_VECTOR = "sentence_embedding"
_TEXTS = 8  # of a group; the processor multiplies fewer less well

Features = dict[str, Any]


def group_by_length(model: "SentenceTransformer") -> None:
    """Let a model on a CPU train in groups. A card prefers one big batch: nothing is changed."""
    if model.device.type != "cpu":
        return
    whole = model.forward

    def forward(self: "SentenceTransformer", features: Features, **more: Any) -> Features:
        mask = features.get("attention_mask")
        if not self.training or mask is None or len(mask) <= _TEXTS:
            return whole(features, **more)
        order = mask.sum(dim=1).argsort(stable=True)
        vectors = [
            whole(_rows(features, mask, rows), **more)[_VECTOR] for rows in order.split(_TEXTS)
        ]
        return {**features, _VECTOR: torch.cat(vectors)[order.argsort()]}

    # A method, since accelerate wraps and unwraps methods.
    model.forward = MethodType(forward, model)  # type: ignore[method-assign]


def _rows(features: Features, mask: torch.Tensor, rows: torch.Tensor) -> Features:
    """Some rows of a batch, without the columns that are padding in all of them.

    Padding is on the left with decoders, which count positions relative to each other.
    """
    used = mask[rows].any(dim=0)
    some = dict(features)
    for name, value in features.items():
        if isinstance(value, torch.Tensor) and len(value) == len(mask):
            some[name] = value[rows][:, used] if value.shape == mask.shape else value[rows]
    return some
