"""Linear layers whose products are taken in eight-bit floats, for cards that have them."""

from typing import Any

import torch
from torch.nn import Linear, Module

_FORMAT = torch.float8_e4m3fn
_LARGEST = float(torch.finfo(_FORMAT).max)
_SMALLEST_SCALE = 1e-12  # of a row of zeros
_MULTIPLE = 16  # of the sizes that cards multiply in it
# Used once for each passage or token, and the precision of all that follows hangs on them.
_LEFT_ALONE = ("pooler", "embed")


class Fp8Linear(Module):
    """Weights with a scale for each output, inputs with one for each row, found as they come.

    What comes out is in the format of what went in, which on a card must be bfloat16.
    """

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        weight, scales = quantised(linear.weight.detach())
        self.register_buffer("weight", weight)  # (out, in), e4m3
        self.register_buffer("scales", scales.t())  # (1, out), float32
        self.bias = linear.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        rows, scales = quantised(states.reshape(-1, states.shape[-1]))
        weight: Any = self.weight
        out_scales: Any = self.scales
        # The public `scaled_mm` came with torch 2.10, and calls the same kernels.
        products: torch.Tensor = torch._scaled_mm(
            rows,
            weight.t(),
            scale_a=scales,
            scale_b=out_scales,
            bias=self.bias,
            out_dtype=states.dtype,
            use_fast_accum=True,
        )
        return products.reshape(*states.shape[:-1], -1)


def quantised(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in e4m3 and what to multiply each by, (n, 1) in float32: its largest number / 448."""
    wide = rows.float()
    scales = (wide.abs().amax(dim=-1, keepdim=True) / _LARGEST).clamp(min=_SMALLEST_SCALE)
    return (wide / scales).clamp(-_LARGEST, _LARGEST).to(_FORMAT), scales


def use_fp8(inner: Module) -> int:
    """Replace the linear layers of a transformers model; how many there were of sizes that fit."""
    replaced = 0
    for name, module in list(inner.named_modules()):
        for key, child in list(module.named_children()):
            path = f"{name}.{key}"
            if type(child) is Linear and _fits(child) and not any(p in path for p in _LEFT_ALONE):
                setattr(module, key, Fp8Linear(child))
                replaced += 1
    return replaced


def _fits(linear: Linear) -> bool:
    return linear.in_features % _MULTIPLE == 0 and linear.out_features % _MULTIPLE == 0
