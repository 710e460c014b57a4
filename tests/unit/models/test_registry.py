"""Names, numbers, and finding a model version again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lockstep.errors import InvalidSetting, ModelNotFound
from lockstep.models.registry import ModelRegistry
from lockstep.testing import tiny_model

Edit = Callable[[Path, dict[str, object]], None]


def test_versions_are_numbered_by_name(registry: ModelRegistry, tmp_path: Path) -> None:
    models = [tiny_model(tmp_path / str(seed), seed=seed) for seed in range(3)]
    refs = [registry.add("a", model).ref for model in models]
    refs.append(registry.add("b", models[0]).ref)
    assert refs == ["a@1", "a@2", "a@3", "b@1"]
    assert [version.ref for version in registry.list()] == refs
    assert [version.ref for version in registry.list("b")] == ["b@1"]


def test_the_same_encoder_again_is_the_version_it_was(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    first = registry.add("a", tiny_model(tmp_path / "1", seed=1))
    registry.add("a", tiny_model(tmp_path / "2", seed=2))
    again = registry.add("a", tiny_model(tmp_path / "copy", seed=1))
    assert (first.created, again.created) == (True, False)
    assert again == first
    assert again.manifest.lineage == {"source": str(tmp_path / "1")}


def test_what_is_read_back_is_what_was_added(registry: ModelRegistry, model: Path) -> None:
    lineage = {"parent": "base@1", "metrics": {"ndcg@10": 0.5}, "seed": 7}
    added = registry.add("a", model, matryoshka_dims=[16, 8], lineage=lineage)
    assert registry.get("a", 1) == added
    assert added.manifest.lineage == lineage
    assert added.manifest.matryoshka_dims == (8, 16)
    assert added.manifest.packages["torch"]


def test_choices_make_another_encoder(registry: ModelRegistry, model: Path) -> None:
    plain = registry.add("a", model)
    prompted = registry.add("a", model, query_prompt="query: ", document_prompt="passage: ")
    shorter = registry.add("a", model, max_tokens=16)
    assert len({plain.digest, prompted.digest, shorter.digest}) == 3
    assert prompted.manifest.query_prompt == "query: "
    assert shorter.manifest.max_tokens == 16


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        ({"query": "q: ", "document": "d: "}, ("q: ", "d: ")),
        ({"query": "q: ", "passage": "p: "}, ("q: ", "p: ")),
        ({"query": "q: ", "document": "", "passage": "p: "}, ("q: ", "p: ")),
        ({"corpus": "c: "}, ("", "c: ")),
        ({"classification": "x: "}, ("", "")),
    ],
)
def test_prompts_of_the_folder(
    registry: ModelRegistry, tmp_path: Path, saved: dict[str, str], expected: tuple[str, str]
) -> None:
    manifest = registry.add("a", tiny_model(tmp_path / "m", prompts=saved)).manifest
    assert (manifest.query_prompt, manifest.document_prompt) == expected


def test_an_empty_choice_takes_a_prompt_away(registry: ModelRegistry, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m", prompts={"query": "q: "}, matryoshka_dims=[8])
    manifest = registry.add("a", folder, query_prompt="", matryoshka_dims=[]).manifest
    assert manifest.query_prompt == ""
    assert manifest.matryoshka_dims == ()


def test_facts_of_the_folder(registry: ModelRegistry, tmp_path: Path, edit: Edit) -> None:
    folder = tiny_model(tmp_path / "m", dim=16, max_tokens=48, matryoshka_dims=[8, 16])
    edit(folder / "1_Pooling" / "config.json", {"pooling_mode": ["cls", "max"]})
    edit(folder / "config_sentence_transformers.json", {"similarity_fn_name": "dot"})
    manifest = registry.add("a", folder).manifest
    assert (manifest.dim, manifest.max_tokens) == (32, 48)
    assert (manifest.pooling, manifest.normalised) == ("cls+max", True)
    assert manifest.similarity == "dot"
    assert manifest.matryoshka_dims == (8, 16)


def test_tokenizers_are_equal_by_what_they_do(registry: ModelRegistry, tmp_path: Path) -> None:
    """Tokens that were made for one version serve every version with that tokenizer."""
    digests = [
        registry.add(name, folder).manifest.tokenizer_digest
        for name, folder in (
            ("a", tiny_model(tmp_path / "a", seed=1)),
            ("b", tiny_model(tmp_path / "b", seed=2, max_tokens=32)),
            ("c", tiny_model(tmp_path / "c", seed=1, vocabulary=["aircraft"])),
        )
    ]
    assert digests[0] == digests[1] != digests[2]


def test_references(registry: ModelRegistry, tmp_path: Path) -> None:
    first = registry.add("a", tiny_model(tmp_path / "1", seed=1))
    second = registry.add("a", tiny_model(tmp_path / "2", seed=2))
    assert registry.resolve("a") == second
    assert registry.resolve("a@1") == first
    assert registry.resolve(first.digest) == first
    assert registry.resolve(first.digest[:7]) == first


@pytest.mark.parametrize("ref", ["b", "a@2", "a@0", "", "a@", "a@x", "0" * 64])
def test_a_reference_that_names_nothing(registry: ModelRegistry, model: Path, ref: str) -> None:
    registry.add("a", model)
    with pytest.raises(ModelNotFound, match=r"Known: a@1\.") as error:
        registry.resolve(ref)
    assert "lockstep model add" in error.value.next_step


def test_a_digest_prefix_must_be_long_enough(registry: ModelRegistry, model: Path) -> None:
    digest = registry.add("a", model).digest
    with pytest.raises(ModelNotFound):
        registry.resolve(digest[:6])


def test_nothing_is_known_at_first(registry: ModelRegistry) -> None:
    assert registry.list() == []
    with pytest.raises(ModelNotFound, match="Known: none"):
        registry.resolve("a")


def test_impossible_choices(registry: ModelRegistry, model: Path) -> None:
    with pytest.raises(InvalidSetting, match="33 is no Matryoshka dimension"):
        registry.add("a", model, matryoshka_dims=[33])
    with pytest.raises(InvalidSetting, match="max_tokens is 3"):
        registry.add("a", model, max_tokens=3)
    assert registry.list() == []
