"""Tiny real models to test with: folders that sentence-transformers loads in milliseconds."""

import json
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_HEADS = 2
_LIBRARY = "sentence_transformers.models"

# As sentence-transformers saves the one module of a cross-encoder.
_CROSS_ENCODER = {
    "transformer_task": "sequence-classification",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "scores",
}

_TOKENS = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
    "query_length": 32,
}

Weights = dict[str, NDArray[np.float32]]


def tiny_model(
    folder: str | Path,
    *,
    seed: int = 0,
    dim: int = 32,
    max_tokens: int = 64,
    vocabulary: Sequence[str] = (),
    prompts: dict[str, str] | None = None,
    matryoshka_dims: Sequence[int] | None = None,
) -> Path:
    """Write a BERT of one layer with random weights as a sentence-transformers folder.

    The same arguments give the same bytes; another seed gives another vector space. Texts that
    share words get similar vectors. `vocabulary` adds words that are one token each; any other
    text, in any script, is split into pieces of one or two bytes.
    """
    target = Path(folder)
    (target / "1_Pooling").mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(vocabulary)
    weights = _weights(np.random.default_rng(seed), dim, max_tokens, tokenizer.get_vocab_size())
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(target / "tokenizer.json"))
    for name, fields in _configs(dim, max_tokens, tokenizer.get_vocab_size()).items():
        _write(target / name, fields)
    settings: dict[str, Any] = {
        "model_type": "SentenceTransformer",
        "prompts": prompts or {},
        "similarity_fn_name": "cosine",
    }
    if matryoshka_dims is not None:
        settings["matryoshka_dims"] = list(matryoshka_dims)
    _write(target / "config_sentence_transformers.json", settings)
    return target


def tiny_reranker(
    folder: str | Path, *, seed: int = 0, dim: int = 32, max_tokens: int = 128, labels: int = 1
) -> Path:
    """Write a BERT of one layer with random weights as a sentence-transformers cross-encoder.

    The same arguments give the same bytes. Its scores mean nothing, and differ from text to text.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(())
    random = np.random.default_rng(seed)
    encoder = _weights(random, dim, max_tokens, tokenizer.get_vocab_size())
    weights = {f"bert.{name}": tensor for name, tensor in encoder.items()}
    weights["classifier.weight"] = random.normal(0.0, 0.5, (labels, dim)).astype(np.float32)
    weights["classifier.bias"] = np.zeros(labels, dtype=np.float32)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(target / "tokenizer.json"))
    configs = _configs(dim, max_tokens, tokenizer.get_vocab_size())
    _write(target / "tokenizer_config.json", configs["tokenizer_config.json"])
    _write(
        target / "config.json",
        configs["config.json"]
        | {
            "architectures": ["BertForSequenceClassification"],
            "id2label": {str(number): f"LABEL_{number}" for number in range(labels)},
            "label2id": {f"LABEL_{number}": number for number in range(labels)},
        },
    )
    _write(target / "modules.json", configs["modules.json"][:1])
    _write(target / "sentence_bert_config.json", _CROSS_ENCODER)
    activation = "torch.nn.modules.activation.Sigmoid"
    settings = {"model_type": "CrossEncoder", "activation_fn": activation}
    _write(target / "config_sentence_transformers.json", settings)
    return target


def tiny_token_model(
    folder: str | Path, *, seed: int = 0, dim: int = 16, prompts: dict[str, str] | None = None
) -> Path:
    """Write the BERT of `tiny_model` as a late interaction model: a vector for each token."""
    target = tiny_model(folder, seed=seed, dim=dim)
    (target / "1_Pooling" / "config.json").unlink()
    (target / "1_Pooling").rmdir()
    library = "sentence_transformers"
    tokens = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    modules = {
        "": f"{library}.base.modules.transformer.Transformer",
        "1_MultiVectorMask": f"{library}.multi_vector_encoder.modules.multi_vector_mask"
        ".MultiVectorMask",
        "2_Normalize": f"{library}.base.modules.normalize.Normalize",
    }
    listed = [
        {"idx": place, "name": str(place), "path": path, "type": kind}
        for place, (path, kind) in enumerate(modules.items())
    ]
    _write(target / "modules.json", listed)
    for path, fields in (("1_MultiVectorMask", {"skiplist_words": []}), ("2_Normalize", tokens)):
        (target / path).mkdir(exist_ok=True)
        _write(target / path / "config.json", fields)
    _write(target / "sentence_bert_config.json", _TOKENS)
    settings = {"model_type": "MultiVectorEncoder", "prompts": prompts or {}}
    _write(target / "config_sentence_transformers.json", settings)
    return target


def nan_model(folder: str | Path, *, seed: int = 0) -> Path:
    """Write a tiny model whose weights, and so whose vectors, are NaN."""
    target = tiny_model(folder, seed=seed)
    weights = _weights(np.random.default_rng(seed), 32, 64, _tokenizer(()).get_vocab_size())
    weights["encoder.layer.0.output.dense.weight"][:] = np.nan
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def _tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    letters = ascii_lowercase + digits
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *_pairs(letters)]
    tokens = [*_SPECIAL, *pieces, *(f"##{piece}" for piece in pieces)]
    tokens += sorted({word.lower() for word in vocabulary} - set(tokens))
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=10_000))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"])
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def _pairs(letters: str) -> list[str]:
    return [first + second for first in letters for second in letters]


def _weights(random: np.random.Generator, dim: int, positions: int, tokens: int) -> Weights:
    """BertModel's tensors. Words weigh far more than positions, so shared words show."""

    def normal(scale: float, *shape: int) -> NDArray[np.float32]:
        return random.normal(0.0, scale, shape).astype(np.float32)

    weights: Weights = {
        "embeddings.word_embeddings.weight": normal(1.0, tokens, dim),
        "embeddings.position_embeddings.weight": normal(0.05, positions, dim),
        "embeddings.token_type_embeddings.weight": normal(0.05, 2, dim),
    }
    layer = "encoder.layer.0"
    for name, rows, columns in (
        (f"{layer}.attention.self.query", dim, dim),
        (f"{layer}.attention.self.key", dim, dim),
        (f"{layer}.attention.self.value", dim, dim),
        (f"{layer}.attention.output.dense", dim, dim),
        (f"{layer}.intermediate.dense", 2 * dim, dim),
        (f"{layer}.output.dense", dim, 2 * dim),
        ("pooler.dense", dim, dim),
    ):
        weights[f"{name}.weight"] = normal(0.5 / columns**0.5, rows, columns)
        weights[f"{name}.bias"] = np.zeros(rows, dtype=np.float32)
    for name in ("embeddings", f"{layer}.attention.output", f"{layer}.output"):
        weights[f"{name}.LayerNorm.weight"] = np.ones(dim, dtype=np.float32)
        weights[f"{name}.LayerNorm.bias"] = np.zeros(dim, dtype=np.float32)
    return weights


def _configs(dim: int, max_tokens: int, tokens: int) -> dict[str, Any]:
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": dim,
            "num_hidden_layers": 1,
            "num_attention_heads": _HEADS,
            "intermediate_size": 2 * dim,
            "max_position_embeddings": max_tokens,
            "vocab_size": tokens,
            "pad_token_id": 0,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_tokens,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            **{f"{token[1:-1].lower()}_token": token for token in _SPECIAL},
        },
        "sentence_bert_config.json": {"max_seq_length": max_tokens, "do_lower_case": False},
        "1_Pooling/config.json": {"embedding_dimension": dim, "pooling_mode": "mean"},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{_LIBRARY}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{_LIBRARY}.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{_LIBRARY}.Normalize"},
        ],
    }


def _write(path: Path, fields: Any) -> None:
    path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
