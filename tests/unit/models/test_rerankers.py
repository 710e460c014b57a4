"""Rerankers: which folders are one, what is refused of them, and the scores they give."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers import CrossEncoder

from lockstep.errors import (
    ArtefactDamaged,
    EncodingFailed,
    InvalidSetting,
    ModelRejected,
    RerankerNotFound,
    Unavailable,
    WrongModelKind,
)
from lockstep.models.agreement import Sample, measure
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.compiled_files import CompiledFiles
from lockstep.models.encoders import Encoders
from lockstep.models.manifest import ModelKind, ModelManifest
from lockstep.models.query_compiler import QueryCompiler
from lockstep.models.registry import ModelRegistry
from lockstep.models.reranker import Reranker
from lockstep.models.reranker_verification import measure_reranker
from lockstep.models.rerankers import Rerankers
from lockstep.models.verification import Choices
from lockstep.store.deadline import within
from lockstep.testing import tiny_model, tiny_reranker

Edit = Callable[[Path, dict[str, object]], None]


@dataclass
class Score:
    """Stands for a pair that a model gives this score."""

    exact: float
    ids: tuple[int, ...] = (1, 2)


@dataclass
class Played:
    """A form that gives other scores."""

    given: dict[float, Any]

    def encode(self, queries: Sequence[Any]) -> Any:
        return np.array([[self.given[query.exact]] for query in queries], dtype=np.float32)


QUERY = "why is the river red"
TEXTS = ["a red stone in the river", "tall clouds", "", "red " * 300, "世界 and ¿qué?"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_reranker(tmp_path / "ce")


@pytest.fixture
def rerankers(registry: ModelRegistry, artefacts: ArtefactStore) -> Rerankers:
    return Rerankers(registry, artefacts, device="cpu")


def predicted(folder: Path, query: str = QUERY) -> Any:
    model = CrossEncoder(str(folder), device="cpu")
    return model.predict([(query, text) for text in TEXTS], show_progress_bar=False)


def test_scores_are_those_of_the_library_whatever_else_is_scored(
    registry: ModelRegistry, rerankers: Rerankers, folder: Path
) -> None:
    version = registry.add("ce", folder)
    assert (version.ref, version.kind) == ("ce@1", ModelKind.RERANKER)
    reranker = rerankers.get(rerankers.find("ce"))
    for query in (QUERY, "red " * 200, ""):
        scores = reranker.score(query, TEXTS)
        assert scores == pytest.approx(predicted(folder, query), abs=1e-6)
        assert scores.tobytes() == reranker.score(query, TEXTS).tobytes()
    assert len(set(reranker.score(QUERY, TEXTS).tolist())) == len(TEXTS)


def test_a_model_with_a_prompt_of_its_own_is_left_to_the_library(
    registry: ModelRegistry, rerankers: Rerankers, folder: Path, edit: Edit
) -> None:
    plain = predicted(folder)
    prompts: dict[str, object] = {"prompts": {"q": "tall: "}, "default_prompt_name": "q"}
    edit(folder / "config_sentence_transformers.json", prompts)
    reranker = rerankers.get(registry.add("ce", folder))
    assert reranker.report.reason == "the library scores them"
    assert reranker.score(QUERY, TEXTS) == pytest.approx(predicted(folder), abs=1e-6)
    assert reranker.score(QUERY, TEXTS) != pytest.approx(plain, abs=1e-6)


def test_what_is_compiled_agrees_with_the_library(
    registry: ModelRegistry, artefacts: ArtefactStore, folder: Path
) -> None:
    compiler = QueryCompiler(CompiledFiles(artefacts))
    manifest = measure_reranker(folder, {}, Choices())
    report = compiler.register(folder, manifest)
    assert report.precision, report.reason
    assert report.agreement is not None
    assert report.agreement.largest_difference < 0.0142
    version = registry.add("ce", folder)
    reranker = Reranker.load(version, artefacts, device="cpu", compiler=compiler)
    assert reranker.report.precision
    many = TEXTS * 5
    scores = reranker.score(QUERY, many)
    assert scores[: len(TEXTS)] == pytest.approx(predicted(folder), abs=0.01)
    assert scores.tobytes() == reranker.score(QUERY, many).tobytes()


@pytest.mark.parametrize("share", [0.001, 0.05])
def test_scores_agree_where_they_differ_by_little_of_their_range(share: float) -> None:
    exact = np.linspace(-8.0, 8.0, 9, dtype=np.float32)[:, None]
    actual = exact.copy()
    actual[4] += 16.0 * share
    form: Any = Played(
        {score: other for [score], [other] in zip(exact.tolist(), actual, strict=True)}
    )
    pairs: Any = [Score(score) for [score] in exact.tolist()]
    found = measure(form, Sample(pairs, exact), 128)
    assert found.largest_difference == pytest.approx(share, rel=1e-3)
    assert found.holds == (share < 0.01)


def test_a_manifest_keeps_the_kind_and_an_encoders_stays_as_it_was(
    registry: ModelRegistry, folder: Path, tmp_path: Path
) -> None:
    reranker = registry.add("ce", folder).manifest
    encoder = registry.add("tiny", tiny_model(tmp_path / "tiny")).manifest
    assert "kind" not in encoder.to_json()
    for manifest in (reranker, encoder):
        read = ModelManifest.from_json(manifest.to_json())
        assert (read, read.digest, read.kind) == (manifest, manifest.digest, manifest.kind)
    fields = reranker.to_json() | {"kind": "encoder"}
    assert ModelManifest.from_json(fields).digest != reranker.digest


def test_a_classifier_of_before_there_were_modules_is_a_reranker(
    registry: ModelRegistry, rerankers: Rerankers, folder: Path
) -> None:
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    version = registry.add("old", folder)
    scores = rerankers.get(version).score(QUERY, TEXTS)
    assert scores == pytest.approx(predicted(folder), abs=1e-6)


def without_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"][:] = np.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: tiny_reranker(folder, labels=3), r"gives 3 scores .*LABEL_0, LABEL_1"),
        (without_head, "two different rerankers"),
        (with_nan, "NaN or infinity for a test pair"),
    ],
)
def test_what_gives_no_single_sure_score_is_refused(
    registry: ModelRegistry, folder: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(folder)
    with pytest.raises(ModelRejected, match=message):
        registry.add("ce", folder)
    assert registry.list() == []


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("config_sentence_transformers.json", {"activation_fn": "torch.hub.load"}),
        ("config_sentence_transformers.json", {"activation_fn": ["torch.nn.Sigmoid"]}),
        ("config.json", {"sentence_transformers": {"activation_fn": "os.getcwd"}}),
        ("config.json", {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Linear"}),
    ],
)
def test_no_function_of_the_models_choice_is_called(
    registry: ModelRegistry, folder: Path, edit: Edit, name: str, fields: dict[str, object]
) -> None:
    edit(folder / name, fields)
    with pytest.raises(ModelRejected, match=r"puts its scores through .*; expected Identity"):
        registry.add("ce", folder)


@pytest.mark.parametrize(
    ("choice", "name"),
    [({"query_prompt": "q: "}, "query_prompt"), ({"matryoshka_dims": [8]}, "ma")],
)
def test_choices_about_vectors_mean_nothing_to_a_reranker(
    registry: ModelRegistry, folder: Path, choice: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidSetting, match=f"^{name}.* is given, but the model is a reranker"):
        registry.add("ce", folder, **choice)


def test_kinds_are_not_taken_for_each_other(
    registry: ModelRegistry,
    artefacts: ArtefactStore,
    rerankers: Rerankers,
    folder: Path,
    tmp_path: Path,
) -> None:
    registry.add("ce", folder)
    registry.add("tiny", tiny_model(tmp_path / "tiny"))
    with pytest.raises(WrongModelKind, match=r"ce@1 is a reranker.*; expected an encoder"):
        Encoders(registry, artefacts).get("ce")
    with pytest.raises(WrongModelKind, match=r"tiny@1 is an encoder.*; expected a reranker"):
        rerankers.find("tiny")
    for ref in ("other", "ce@2"):
        with pytest.raises(RerankerNotFound, match=f"No reranker is '{ref}'. Known: ce@1"):
            rerankers.find(ref)


def test_the_newest_version_of_a_name_is_found_as_soon_as_it_is_added(
    registry: ModelRegistry, rerankers: Rerankers, folder: Path, tmp_path: Path
) -> None:
    first = registry.add("ce", folder)
    assert rerankers.find("ce") == rerankers.find("ce@1") == first
    second = registry.add("ce", tiny_reranker(tmp_path / "next", seed=1))
    assert rerankers.find("ce") == second
    assert rerankers.find("ce@1") == first


def test_all_who_wait_share_one_load_and_the_few_used_last_are_kept(
    registry: ModelRegistry, artefacts: ArtefactStore, tmp_path: Path
) -> None:
    versions = [
        registry.add(f"ce{seed}", tiny_reranker(tmp_path / str(seed), seed=seed))
        for seed in range(2)
    ]
    rerankers = Rerankers(registry, artefacts, device="cpu", keep=1)
    loaded: list[Any] = []

    def load() -> None:
        loaded.append(rerankers.get(versions[0]))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 4
    assert len({id(reranker) for reranker in loaded}) == 1
    assert rerankers.get(versions[1]) is rerankers.get(versions[1])
    assert rerankers.get(versions[0]) is not loaded[0]


def test_a_search_waits_for_a_load_no_longer_than_its_deadline(
    registry: ModelRegistry, rerankers: Rerankers, folder: Path
) -> None:
    version = registry.add("ce", folder)
    with within(0.0), pytest.raises(Unavailable, match="ce@1 is still being loaded"):
        rerankers.get(version)
    assert rerankers.get(version).version == version


def test_damage_is_seen_when_it_is_loaded(
    registry: ModelRegistry, artefacts: ArtefactStore, rerankers: Rerankers, folder: Path
) -> None:
    version = registry.add("ce", folder)
    weights = artefacts.fetch(version.digest) / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    for _ in range(2):
        with pytest.raises(ArtefactDamaged):
            rerankers.get(version)


def test_scores_that_are_no_numbers_fail(
    registry: ModelRegistry, rerankers: Rerankers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = rerankers.get(registry.add("ce", folder))
    monkeypatch.setattr(reranker, "_activated", lambda logits: np.full_like(logits, np.nan))
    with pytest.raises(EncodingFailed, match="ce@1 gave NaN or infinity"):
        reranker.score(QUERY, TEXTS)
