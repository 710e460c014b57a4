"""On a CUDA card: packed batches in half precision, whatever memory there is."""

from typing import Any

import numpy as np
import pytest
import torch
from encoder_families import manifest_of

from lockstep.models.vectors import cosines
from lockstep_indexer.encode.batches import Budget
from lockstep_indexer.encode.card import require_fp8
from lockstep_indexer.encode.packed import PackedRoute
from lockstep_indexer.encode.passage_encoder import PassageEncoder
from lockstep_indexer.encode.routes import RouteRefused
from lockstep_indexer.encode.slabs import Slabs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no card")

_TEXTS = [f"wing {number} " * (number % 9 + 1) for number in range(200)]


@pytest.fixture(scope="module")
def encoder(model: Any) -> PassageEncoder:
    return PassageEncoder.choose(model, manifest_of(), device="cuda")


def test_a_card_packs(model: Any, encoder: PassageEncoder) -> None:
    assert encoder.name == "packed, float16, on cuda"
    assert cosines(encoder.encode_texts(_TEXTS), model.encode(_TEXTS)).min() >= 0.9995


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_neither_budget_nor_slabs_matter(
    model: Any, encoder: PassageEncoder, dtype: torch.dtype
) -> None:
    tokens = encoder.tokenizer.tokens(_TEXTS)
    expected = model.encode(_TEXTS)
    route = PackedRoute(model, device="cuda", dtype=dtype, budget=Budget(100))
    route._slabs = Slabs("cuda", tokens=300)
    assert cosines(route.encode(tokens), expected).min() >= 0.9995


def test_memory_that_runs_out_in_mid_run_costs_nothing(
    model: Any, encoder: PassageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = encoder.tokenizer.tokens(_TEXTS)
    route = PackedRoute(model, device="cuda", dtype=torch.float16)
    whole = route.encode(tokens)
    batch = route._batch

    def small_only(slab: Any, start: int, end: int) -> torch.Tensor:
        if end - start > 30:
            torch.empty(1 << 60, dtype=torch.uint8, device="cuda")
        return batch(slab, start, end)

    monkeypatch.setattr(route, "_batch", small_only)
    assert np.allclose(route.encode(tokens), whole, atol=2e-3)


def test_a_new_card_multiplies_in_eight_bits(model: Any, encoder: PassageEncoder) -> None:
    try:
        require_fp8("cuda")
    except RouteRefused as reason:
        pytest.skip(str(reason))
    route = PackedRoute(model, device="cuda", dtype=torch.bfloat16, fp8=True)
    found = route.encode(encoder.tokenizer.tokens(_TEXTS))
    assert 0.98 < cosines(found, model.encode(_TEXTS)).min() < 0.99999
