"""Training in groups of like length: the same vectors and gradients, less padding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_families import family_model
from sentence_transformers import SentenceTransformer

from lockstep_indexer.train.grouping import group_by_length
from lockstep_indexer.train.loading import load_trainable

WORDS = [f"word{number}" for number in range(30)]
# One long text among many short ones, in no order.
TEXTS = [" ".join(WORDS[: 1 + n % 3]) for n in range(20)] + [" ".join(WORDS) * 2] + ["end"] * 3


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return family_model(tmp_path_factory.mktemp("bert"), "bert")


def model_of(folder: Path) -> SentenceTransformer:
    """In training, and without chance."""
    model = load_trainable(folder, device="cpu").train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def vectors_and_gradients(
    model: SentenceTransformer, texts: Sequence[str], prompt: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(texts, dim), and the gradients of all weights end to end."""
    vectors = model(model.preprocess(list(texts), prompt=prompt))["sentence_embedding"]
    (vectors @ vectors.T).exp().sum().backward()
    gradients = [each.grad.flatten() for each in model.parameters() if each.grad is not None]
    return vectors.detach(), torch.cat(gradients)


def padded_tokens(model: SentenceTransformer) -> list[int]:
    """What the model multiplies, filled with each pass."""
    seen: list[int] = []
    transformer: Any = model[0]
    embeddings = transformer.model.get_input_embeddings()
    embeddings.register_forward_hook(lambda _, given, __: seen.append(given[0].numel()))
    return seen


@pytest.mark.parametrize(
    ("family", "pooling", "side", "prompt"),
    [
        ("bert", "mean", "right", None),
        ("bert", "mean", "right", "word1 word2: "),
        ("roberta", "cls", "right", None),
        ("qwen3", "lasttoken", "left", None),
    ],
)
def test_groups_give_the_same_vectors_and_gradients(
    family: str, pooling: str, side: str, prompt: str | None, tmp_path: Path
) -> None:
    """Also where a prompt is encoded and not pooled."""
    folder = family_model(tmp_path / "model", family, pooling=pooling, include_prompt=not prompt)
    plain, grouped = model_of(folder), model_of(folder)
    for model in (plain, grouped):
        model.tokenizer.padding_side = side
    group_by_length(grouped)
    expected = vectors_and_gradients(plain, TEXTS, prompt)
    found = vectors_and_gradients(grouped, TEXTS, prompt)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() < 1e-4 * theirs.norm()


def test_groups_hold_little_padding(bert: Path) -> None:
    plain, grouped = model_of(bert), model_of(bert)
    group_by_length(grouped)
    before, after = padded_tokens(plain), padded_tokens(grouped)
    for model in (plain, grouped):
        vectors_and_gradients(model, TEXTS)
    assert len(after) == 3
    assert sum(after) < 0.6 * sum(before)


def test_few_texts_and_evaluation_are_left_alone(bert: Path) -> None:
    model = model_of(bert)
    group_by_length(model)
    seen = padded_tokens(model)
    vectors_and_gradients(model, TEXTS[:8])
    model.eval()
    with torch.no_grad():
        model(model.preprocess(TEXTS))
    assert len(seen) == 2
