"""Batches without padding give the library's vectors, for every family that can be packed."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_families import family_model
from torch.nn.attention import varlen

from lockstep.models.loading import load_model
from lockstep.models.vectors import Vector, cosines
from lockstep_indexer.encode.batches import Budget
from lockstep_indexer.encode.packed import PackedRoute
from lockstep_indexer.encode.padded import PaddedRoute
from lockstep_indexer.encode.routes import RouteRefused
from lockstep_indexer.encode.slabs import Slab, Slabs
from lockstep_indexer.encode.tokenizing import PassageTokenizer
from lockstep_indexer.encode.tokens import Tokens

# Many ways to see another passage by mistake: equal ones, nearly equal ones, one of one word.
_TEXTS = ["a", "wing of a plane", "wing of a train", "wing of a plane", "heat " * 40, "世界 🙂", ""]
_FAMILIES = [
    ("bert", "mean"),
    ("roberta", "cls"),
    ("xlm-roberta", ("cls", "mean")),
    ("modernbert", "mean"),
    ("qwen2", "lasttoken"),
    ("qwen3", "lasttoken"),
]


def library(model: Any, prompt: str, texts: Sequence[str] = _TEXTS) -> Vector:
    vectors = [model.encode_document([text], prompt=prompt)[0] for text in texts]
    return np.stack(vectors)


@pytest.mark.parametrize(("family", "pooling"), _FAMILIES)
def test_each_family_gives_its_own_vectors(
    tmp_path: Path, family: str, pooling: str | Sequence[str]
) -> None:
    model: Any = load_model(family_model(tmp_path, family, pooling=pooling), device="cpu")
    tokens = PassageTokenizer(model, "doc: ", 64).tokens(_TEXTS)
    expected = library(model, "doc: ")
    before = model[0].model.config._attn_implementation
    packed = PackedRoute(model)
    for route in (packed, PackedRoute(model, budget=Budget(20)), PaddedRoute(model)):
        assert cosines(route.encode(tokens), expected).min() > 1 - 1e-6
    assert np.allclose(np.linalg.norm(packed.encode(tokens), axis=1), 1, atol=1e-6)
    assert model[0].model.config._attn_implementation == before
    assert len({row.tobytes() for row in packed.encode(tokens)}) == len(set(_TEXTS))


@pytest.mark.parametrize(("family", "pooling"), _FAMILIES)
def test_special_tokens_in_a_text_count_as_they_do_in_the_library(
    tmp_path: Path, family: str, pooling: str | Sequence[str]
) -> None:
    """RoBERTa's positions leave out the padding token wherever it stands; attention does not."""
    texts = ["the [PAD] token", "[PAD]", "[PAD] [PAD] wing [MASK] of [PAD]", "wing of a plane"]
    model: Any = load_model(family_model(tmp_path, family, pooling=pooling), device="cpu")
    tokens = PassageTokenizer(model, "", 64).tokens(texts)
    assert model.tokenizer.pad_token_id in tokens.passage(0)
    expected = library(model, "", texts)
    for route in (PackedRoute(model), PackedRoute(model, budget=Budget(8)), PaddedRoute(model)):
        assert cosines(route.encode(tokens), expected).min() > 1 - 1e-6


def on_meta(tokens: Tokens) -> Slab:
    arrays = (tokens.ids, tokens.offsets)
    return Slab(tokens, *(torch.from_numpy(each).to("meta") for each in arrays))


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "qwen3"])
def test_the_kernel_of_cards_gets_what_it_takes(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device without numbers, whose operations check shapes, formats and devices alone."""
    seen: list[dict[str, Any]] = []
    kernel = varlen.varlen_attn

    def watched(*states: Any, **options: Any) -> Any:
        names = ("query", "key", "value", "starts", "key_starts", "longest", "longest_key")
        seen.append(dict(zip(names, states, strict=True)) | options)
        return kernel(*states, **options)

    monkeypatch.setattr(varlen, "varlen_attn", watched)
    model: Any = load_model(family_model(tmp_path, family), device="cpu")
    route = PackedRoute(model, device="meta", dtype=torch.float16, budget=Budget(64))
    tokens = Tokens.of([[2, 5, 6, 7, 3], [2, 5, 3], [2, 3]])
    vectors = route._batch(on_meta(tokens), 1, 3)
    assert (vectors.shape, vectors.dtype, vectors.device.type) == ((2, 32), torch.float32, "meta")
    assert len(seen) == 3
    for call in seen:
        states = [call[name] for name in ("query", "key", "value")]
        assert {each.dtype for each in states} == {torch.float16}
        assert all(each.stride(-1) == 1 and each.shape[::2] == (5, 8) for each in states)
        assert call["starts"] is call["key_starts"]
        assert (call["starts"].dtype, call["starts"].shape) == (torch.int32, (3,))
        assert call["starts"].device == states[0].device
        assert (call["longest"], call["longest_key"]) == (3, 3)
        assert call["enable_gqa"] == (family == "qwen3")
    windows = [call["window_size"] for call in seen]
    assert windows == {
        "modernbert": [(-1, -1), (4, 4), (4, 4)],
        "qwen3": [(-1, 0)] * 3,
    }.get(family, [(-1, -1)] * 3)


@pytest.mark.parametrize("fp8", [False, True])
def test_one_compilation_serves_batches_of_all_shapes(
    model: Any, fp8: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[Any] = []

    def counted(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counted))
    route = PackedRoute(
        model, device="meta", dtype=torch.bfloat16, compiled=True, fp8=fp8, budget=Budget(64)
    )
    for lengths in ([64] * 8, [60, 50, 20], [64], [9, 9, 9, 1], [2]):
        tokens = Tokens.of([[2] * length for length in lengths])
        with torch.inference_mode():
            route._batch(on_meta(tokens), 0, len(tokens))
    assert len(graphs) == 1


@pytest.mark.parametrize("pooling", ["mean", "cls", "weightedmean"])
def test_a_prompt_stays_out_of_pooling_where_the_model_says_so(
    tmp_path: Path, pooling: str
) -> None:
    prompt = "represent this: "
    folder = family_model(tmp_path, "bert", pooling=pooling, include_prompt=False)
    model: Any = load_model(folder, device="cpu")
    left_out = model.preprocess([""], prompt=prompt)["prompt_length"]
    tokens = PassageTokenizer(model, prompt, 64).tokens(_TEXTS)
    expected = library(model, prompt)
    for kind in (PackedRoute, PaddedRoute):
        found = kind(model, prompt_tokens=left_out).encode(tokens)
        assert cosines(found, expected).min() > 1 - 1e-6
        assert cosines(kind(model).encode(tokens), expected).min() < 0.999


def test_mpnet_has_an_attention_of_its_own(tmp_path: Path) -> None:
    model: Any = load_model(family_model(tmp_path, "mpnet"), device="cpu")
    with pytest.raises(RouteRefused, match="MPNetModel has an attention of its own"):
        PackedRoute(model)
    tokens = PassageTokenizer(model, "", 64).tokens(_TEXTS)
    assert cosines(PaddedRoute(model).encode(tokens), library(model, "")).min() > 1 - 1e-6


def test_modules_that_look_beyond_a_token_are_refused(model: Any) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import LSTM

    mixing = SentenceTransformer(modules=[model[0], LSTM(32, 16), model[1]], device="cpu")
    with pytest.raises(RouteRefused, match="LSTM"):
        PackedRoute(mixing)


def test_dense_modules_are_followed(model: Any) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    wider = SentenceTransformer(modules=[model[0], model[1], Dense(32, 48)], device="cpu")
    tokens = PassageTokenizer(wider, "", 64).tokens(_TEXTS)
    found = PackedRoute(wider).encode(tokens)
    assert found.shape == (len(_TEXTS), 48)
    assert cosines(found, library(wider, "")).min() > 1 - 1e-6


def test_slabs_change_nothing(model: Any) -> None:
    texts = [f"wing {number} " * (number % 7 + 1) for number in range(40)]
    tokens = PassageTokenizer(model, "", 64).tokens(texts)
    route = PackedRoute(model, budget=Budget(64))
    whole = route.encode(tokens)
    route._slabs = Slabs("cpu", tokens=100)
    assert np.allclose(route.encode(tokens), whole, atol=1e-6)
