"""Between the base and what was trained from it: weights that are a mean of both.

Source: Wortsman et al., Robust Fine-Tuning of Zero-Shot Models (WiSE-FT), CVPR 2022. Much of what
was learned stays, and much of what was forgotten comes back.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lockstep_indexer.train.loading import load_trainable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def blend(model: "SentenceTransformer", base: Path, share: float) -> None:
    """Leave this share of the model's own weights and fill up with the base's."""
    import torch

    theirs = load_trainable(base, device="cpu").state_dict()
    with torch.no_grad():
        for name, own in model.state_dict().items():
            if own.is_floating_point():
                own.copy_(torch.lerp(theirs[name].to(own), own, share))
