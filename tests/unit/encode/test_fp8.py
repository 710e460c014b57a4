"""Linear layers in eight bits: near to what they were, and only where a card has such a thing."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_families import family_model, manifest_of

from lockstep.models.loading import load_model, seeded
from lockstep.models.vectors import cosines
from lockstep_indexer.encode.card import require_fp8
from lockstep_indexer.encode.fp8 import Fp8Linear, quantised, use_fp8
from lockstep_indexer.encode.packed import PackedRoute
from lockstep_indexer.encode.passage_encoder import PassageEncoder
from lockstep_indexer.encode.precision import IN_FP8
from lockstep_indexer.encode.routes import RouteRefused
from lockstep_indexer.encode.tokenizing import PassageTokenizer

_TEXTS = ["a", "wing of a plane", "wing of a train", "heat " * 40, "世界 🙂", ""]


@pytest.fixture
def linear() -> torch.nn.Linear:
    with seeded(3):
        return torch.nn.Linear(64, 48).requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_multiplies_what_it_has_rounded_to(
    linear: torch.nn.Linear, dtype: torch.dtype
) -> None:
    """Rows a million times as large as others lose no more; a row of zeros gives the bias."""
    linear.to(dtype)
    with seeded(4):
        states = torch.randn(2, 9, 64, dtype=dtype)
    states[:, 1] *= 1e6
    states[:, 2] *= 1e-6
    states[:, 3] = 0
    found = Fp8Linear(linear)(states)
    rows, scales = quantised(states.reshape(-1, 64))
    weight, weights = quantised(linear.weight)
    expected = (rows.float() * scales) @ (weight.float() * weights).t() + linear.bias.float()
    assert (found.shape, found.dtype) == ((2, 9, 48), dtype)
    torch.testing.assert_close(
        found.reshape(-1, 48),
        expected.to(dtype),
        rtol=1e-2 if dtype == torch.bfloat16 else 1e-4,
        atol=1e-5,
    )
    exact = linear(states).float() - linear.bias.float()
    near = torch.cosine_similarity(found.float() - linear.bias.float(), exact, dim=-1)
    assert near[:, :2].min() > 0.998
    assert torch.equal(found[:, 3], linear.bias.expand(2, -1))


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_vectors_stay_near(tmp_path: Path, family: str) -> None:
    model: Any = load_model(family_model(tmp_path, family), device="cpu")
    tokens = PassageTokenizer(model, "", 64).tokens(_TEXTS)
    expected = PackedRoute(model).encode(tokens)
    route = PackedRoute(model, fp8=True)
    lowest = cosines(route.encode(tokens), expected).min()
    assert 0.97 < lowest < 0.99999  # 32 dimensions average out little
    assert route.name == "packed, float32 with fp8 linear layers, on cpu"
    assert route.min_cosine == IN_FP8
    assert cosines(PackedRoute(model).encode(tokens), expected).min() > 1 - 1e-6


def test_layers_around_the_encoder_stay_as_they_are(model: Any) -> None:
    inner = copy.deepcopy(model[0].model)
    layers = inner.config.num_hidden_layers
    assert use_fp8(inner) == 6 * layers
    assert type(inner.pooler.dense) is torch.nn.Linear
    assert use_fp8(inner) == 0


def test_a_model_of_sizes_that_do_not_fit_is_refused(model: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("lockstep_indexer.encode.fp8._MULTIPLE", 1000)
    with pytest.raises(RouteRefused, match="no linear layers of sizes that fp8 takes"):
        PackedRoute(model, fp8=True)


def test_an_older_card_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    with pytest.raises(RouteRefused, match=r"8\.9 or newer .*; cuda:1 has 8\.6"):
        require_fp8("cuda:1")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    require_fp8("cuda:1")


def test_without_a_card_the_next_route_is_taken_and_it_is_said(folder: Path) -> None:
    model: Any = load_model(folder, device="cpu")
    encoder = PassageEncoder.choose(model, manifest_of(), device="cpu", fp8=True)
    assert encoder.report.cosine >= 0.9999
    assert "fp8 linear layers: fp8 needs a CUDA card" in str(encoder.report)
