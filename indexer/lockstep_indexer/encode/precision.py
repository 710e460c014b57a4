"""Number formats of weights, and how near their vectors have to come to single precision's."""

import torch

ON_CARD = 0.9995
ELSEWHERE = 0.9999
# Three bits of a fraction: BERT-base came to .998, BERT-large to .992. What is lost of nDCG, a
# candidate's gates measure.
IN_FP8 = 0.99


def least_cosine(device: str, *, fp8: bool = False) -> float:
    if fp8:
        return IN_FP8
    return ON_CARD if device.startswith("cuda") else ELSEWHERE


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Each row by its L2 norm, in float32; NaN where it has none."""
    wide = vectors.float()
    lengths: torch.Tensor = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return wide / lengths


def has_bfloat16() -> bool:
    """Whether this processor computes in it, rather than around it."""
    return bool(torch.cpu._is_avx512_bf16_supported())
