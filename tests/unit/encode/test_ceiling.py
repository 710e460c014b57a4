"""What a model's passages take of a processor, for every shape that models have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_families import family_model

from lockstep.models.loading import load_model
from lockstep_indexer.encode.ceiling import flops

_LAYERS, _HIDDEN, _INNER = 3, 32, 64
_SQUARE, _ACROSS = _HIDDEN * _HIDDEN, _HIDDEN * _INNER
_BERT = 4 * _SQUARE + 2 * _ACROSS  # weights of a layer
_PAIRS = 10 * 10 + 3 * 3


@pytest.mark.parametrize(
    ("family", "weights", "pairs"),
    [
        ("bert", _BERT, 3 * _PAIRS),
        ("roberta", _BERT, 3 * _PAIRS),
        # Its own name for the inner size, which is 3,072 here.
        ("distilbert", 4 * _SQUARE + 2 * _HIDDEN * 3072, 3 * _PAIRS),
        ("mpnet", _BERT, 3 * _PAIRS),
        ("albert", _BERT, 3 * _PAIRS),  # one layer, run three times
        # Gated, and two layers of three see four tokens on each side of one.
        ("modernbert", 4 * _SQUARE + 3 * _ACROSS, _PAIRS + 2 * (70 + 9)),
        # Gated, two heads of keys for four of queries, and each token sees those before it.
        ("qwen3", 3 * _SQUARE + 3 * _ACROSS, 3 * (55 + 6)),
    ],
)
def test_the_work_is_that_of_the_models_own_layers(
    tmp_path: Path, family: str, weights: int, pairs: int
) -> None:
    model: Any = load_model(family_model(tmp_path, family), device="cpu")
    inner, lengths = model[0].model, np.array([10, 3])
    assert flops(inner, lengths) == 2 * _LAYERS * weights * 13 + 4 * _HIDDEN * pairs


def test_of_what_is_no_model_of_transformers_nothing_is_known() -> None:
    assert np.isnan(flops(torch.nn.Linear(2, 2), np.array([3])))
    assert np.isnan(flops(None, np.array([3])))
