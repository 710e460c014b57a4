"""Late interaction models: registered, verified, and what they give."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lockstep.errors import (
    InvalidInput,
    InvalidSetting,
    ModelRejected,
    WrongModelKind,
)
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.encoders import Encoders
from lockstep.models.manifest import ModelKind
from lockstep.models.registry import ModelRegistry
from lockstep.models.token_encoder import TokenEncoder
from lockstep.testing import tiny_token_model

Edit = Callable[[Path, dict[str, object]], None]
PROMPTS = {"query": "[Q] ", "document": "[D] "}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_token_model(tmp_path / "model", prompts=PROMPTS)


@pytest.fixture
def encoder(registry: ModelRegistry, artefacts: ArtefactStore, model: Path) -> TokenEncoder:
    registry.add("late", model)
    return Encoders(registry, artefacts, device="cpu").tokens("late")


def test_a_folder_of_the_library_is_recognised(registry: ModelRegistry, model: Path) -> None:
    version = registry.add("late", model)
    manifest = version.manifest
    assert version.kind is ModelKind.LATE_INTERACTION
    assert (manifest.dim, manifest.max_tokens, manifest.normalised) == (16, 64, True)
    assert (manifest.query_prompt, manifest.document_prompt) == ("[Q] ", "[D] ")
    assert manifest.similarity == "maxsim"
    assert registry.get("late", 1).manifest == manifest


def test_the_limit_of_passages_is_the_model_s_own(
    registry: ModelRegistry, model: Path, edit: Edit
) -> None:
    edit(model / "sentence_bert_config.json", {"document_length": 24})
    assert registry.add("late", model).manifest.max_tokens == 24
    assert registry.add("late", model, max_tokens=12).manifest.max_tokens == 12


def test_texts_become_what_the_library_makes_of_them(encoder: TokenEncoder, model: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    library = MultiVectorEncoder(str(model), device="cpu", local_files_only=True)
    texts = ["red apples", "a green tree by the river " * 9, ""]
    theirs = library.encode_document(texts, convert_to_numpy=True, show_progress_bar=False)
    for ours, expected in zip(encoder.encode_passages(texts), theirs, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    query = "which apples are red " * 9  # cut at the length of queries, not of passages
    [expected] = library.encode_query([query], convert_to_numpy=True, show_progress_bar=False)
    np.testing.assert_array_equal(encoder.encode_query(query), expected)
    assert len(expected) == 32


def test_threads_tokenize_one_after_the_other(encoder: TokenEncoder, model: Path) -> None:
    """Else a query would be cut at the length of a passage, or the tokenizer would fail."""
    first: Any = encoder._model[0]
    tokenize, inside, most = first.preprocess, [], []

    def slowly(*arguments: Any, **options: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return tokenize(*arguments, **options)

    first.preprocess = slowly
    with ThreadPoolExecutor(4) as pool:
        lengths = pool.map(lambda _: len(encoder.encode_query("one word " * 40)), range(6))
        passages = pool.map(lambda _: encoder.encode_passages(["one word " * 40]), range(6))
        assert {*lengths} == {32}
        assert {len(each[0]) for each in passages} == {64}
    assert max(most) == 1


def test_a_passage_without_a_token_to_score_has_one_of_zeros(
    registry: ModelRegistry, artefacts: ArtefactStore, model: Path
) -> None:
    skipped = {"skiplist_words": ["[CLS]", "[SEP]", "!"]}
    (model / "1_MultiVectorMask" / "config.json").write_text(json.dumps(skipped))
    registry.add("late", model, document_prompt="")
    encoder = Encoders(registry, artefacts, device="cpu").tokens("late")
    empty, word = encoder.encode_passages(["!", "ab"])
    assert empty.tolist() == [[0.0] * 16]
    assert word.any()


def test_what_cannot_be_encoded_is_refused(encoder: TokenEncoder) -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        encoder.encode_query("\ud800")
    assert encoder.encode_passages([]) == []


def test_each_kind_is_loaded_as_what_it_is(
    registry: ModelRegistry, artefacts: ArtefactStore, model: Path
) -> None:
    registry.add("late", model)
    encoders = Encoders(registry, artefacts, device="cpu")
    with pytest.raises(WrongModelKind, match=r"late@1 is a late interaction model.*an encoder"):
        encoders.get("late")


def test_models_that_do_not_work_are_refused(
    registry: ModelRegistry, model: Path, edit: Edit
) -> None:
    with pytest.raises(InvalidSetting, match="are not cut"):
        registry.add("late", model, matryoshka_dims=[8])
    weights = load_file(model / "model.safetensors")
    broken = weights | {"embeddings.LayerNorm.weight": np.full(16, np.nan, np.float32)}
    save_file(broken, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelRejected, match="NaN"):
        registry.add("late", model)
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelRejected, match="lack some weights"):
        registry.add("late", model)
    edit(model / "config_sentence_transformers.json", {"model_type": "ColBERT"})
    with pytest.raises(ModelRejected, match="as other libraries save it"):
        registry.add("late", model)
