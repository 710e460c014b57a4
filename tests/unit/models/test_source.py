"""Which models are refused, and which files are taken of the others."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, move, rmtree

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lockstep.errors import HubUnavailable, InvalidSetting, ModelRejected
from lockstep.models.registry import ModelRegistry
from lockstep.testing import nan_model, tiny_model

Edit = Callable[[Path, dict[str, object]], None]


def _refused(registry: ModelRegistry, source: str | Path, match: str) -> ModelRejected:
    with pytest.raises(ModelRejected, match=match) as refusal:
        registry.add("tiny", source)
    assert registry.list() == []
    return refusal.value


def test_no_such_path(registry: ModelRegistry, tmp_path: Path) -> None:
    _refused(registry, tmp_path / "missing", "There is no folder")
    _refused(registry, "missing", "There is no folder 'missing'")


def test_a_file_is_no_folder(registry: ModelRegistry, model: Path) -> None:
    error = _refused(registry, model / "config.json", "is a file")
    assert "modules.json" in error.next_step


def test_not_a_model_folder(registry: ModelRegistry, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("hello")
    _refused(registry, tmp_path / "notes", "neither modules.json nor config.json")


@pytest.mark.parametrize("where", ["", "2_Dense"])
def test_pickled_weights(registry: ModelRegistry, model: Path, edit: Edit, where: str) -> None:
    folder = model / where
    folder.mkdir(exist_ok=True)
    if not where:
        (model / "model.safetensors").unlink()
    modules = json.loads((model / "modules.json").read_text())
    modules.append({"idx": 3, "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (model / "modules.json").write_text(json.dumps(modules))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    error = _refused(registry, model, "pytorch_model.bin, a pickle")
    assert "safe_serialization=True" in error.next_step


def test_a_pickle_beside_safetensors_is_left_behind(registry: ModelRegistry, model: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "model.onnx", "modeling.py", "tf.h5"):
        (model / name).write_bytes(b"\x80\x04.")
    (model / "checkpoint-5").mkdir()
    (model / "checkpoint-5" / "model.safetensors").write_bytes(b"x")
    taken = registry.add("tiny", model).manifest.files
    assert sorted(taken) == [
        "1_Pooling/config.json",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_no_weights(registry: ModelRegistry, model: Path) -> None:
    (model / "model.safetensors").unlink()
    _refused(registry, model, "holds no weights")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_remote_code(registry: ModelRegistry, model: Path, edit: Edit, name: str) -> None:
    edit(model / name, {"auto_map": {"AutoModel": "modeling.Model"}})
    _refused(registry, model, f"{name} has an auto_map.*runs no code")


def test_a_module_of_its_own(registry: ModelRegistry, model: Path) -> None:
    text = (model / "modules.json").read_text()
    own = text.replace("sentence_transformers.models.Pooling", "my_pooling.Pooling")
    (model / "modules.json").write_text(own)
    _refused(registry, model, "module type 'my_pooling.Pooling'")


def test_a_kernel_from_the_hub(registry: ModelRegistry, model: Path, edit: Edit) -> None:
    edit(
        model / "sentence_bert_config.json",
        {"model_args": {"attn_implementation": "somebody/kernel"}},
    )
    _refused(registry, model, "attention kernel 'somebody/kernel'")


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../b"])
def test_a_module_outside_the_folder(registry: ModelRegistry, model: Path, path: str) -> None:
    text = (model / "modules.json").read_text()
    (model / "modules.json").write_text(text.replace("1_Pooling", path))
    _refused(registry, model, "outside the model folder")


def test_an_adapter_without_its_base(registry: ModelRegistry, model: Path) -> None:
    (model / "adapter_config.json").write_text("{}")
    _refused(registry, model, "an adapter")


def test_another_kind_of_model(registry: ModelRegistry, model: Path, edit: Edit) -> None:
    edit(model / "config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    _refused(registry, model, "holds a SparseEncoder")


@pytest.mark.parametrize("keep", [0, 7, 5_000])
def test_torn_safetensors(registry: ModelRegistry, model: Path, keep: int) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    _refused(registry, model, "model.safetensors is not a whole safetensors file")


def test_a_missing_shard(registry: ModelRegistry, model: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    _refused(registry, model, "names 2 files that are missing, such as model-1.safetensors")


def test_torn_json(registry: ModelRegistry, model: Path) -> None:
    (model / "tokenizer.json").write_text('{"version": "1.0", ')
    _refused(registry, model, "tokenizer.json of the model is not JSON")


def test_a_tensor_too_few(registry: ModelRegistry, model: Path) -> None:
    """The libraries would draw it at random, so each load would be another encoder."""
    weights = load_file(model / "model.safetensors")
    del weights["encoder.layer.0.attention.self.value.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    _refused(registry, model, "lack some weights")


def test_nan(registry: ModelRegistry, tmp_path: Path) -> None:
    _refused(registry, nan_model(tmp_path / "nan"), "NaN, infinity or only zeros for 4 of 4")


def test_token_vectors_without_pooling(registry: ModelRegistry, model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    (model / "modules.json").write_text(json.dumps(modules[:1]))
    _refused(registry, model, "fails on a test sentence|gives an array of shape")


def test_a_tokenizer_without_a_padding_token(registry: ModelRegistry, model: Path) -> None:
    path = model / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    del fields["pad_token"]
    path.write_text(json.dumps(fields))
    with pytest.raises(ModelRejected, match="tokenizer has no padding token") as refused:
        registry.add("tiny", model)
    assert refused.value.next_step is not None
    assert '"pad_token"' in refused.value.next_step
    assert "tokenizer_config.json" in refused.value.next_step


def test_weights_of_another_shape(registry: ModelRegistry, model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] = np.zeros((3, 32), dtype=np.float32)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    _refused(registry, model, "cannot load the model")


def test_more_tokens_than_positions(registry: ModelRegistry, model: Path, edit: Edit) -> None:
    with pytest.raises(InvalidSetting, match="at most the model's 64 positions"):
        registry.add("tiny", model, max_tokens=65)
    edit(model / "sentence_bert_config.json", {"max_seq_length": 100})
    _refused(registry, model, "fails on a test sentence")


def test_a_link_to_somewhere_else(registry: ModelRegistry, model: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (model / "special_tokens_map.json").symlink_to(secret)
    error = _refused(registry, model, "special_tokens_map.json of the model is a link .* outside")
    assert "cp -rL" in error.next_step


def test_a_link_to_a_folder(registry: ModelRegistry, model: Path, tmp_path: Path) -> None:
    move(model / "1_Pooling", tmp_path / "pooling")
    (model / "1_Pooling").symlink_to(tmp_path / "pooling")
    _refused(registry, model, "1_Pooling of the model is a link to a folder")


def test_a_broken_link(registry: ModelRegistry, model: Path) -> None:
    (model / "config.json").unlink()
    (model / "config.json").symlink_to(model / "nothing.json")
    _refused(registry, model, "config.json of the model is a link")


def test_links_of_a_hub_cache_are_followed(registry: ModelRegistry, model: Path) -> None:
    expected = registry.add("plain", model).digest
    snapshot = model.parent / "models--org--tiny" / "snapshots" / "c0ffee"
    blobs = snapshot.parent.parent / "blobs"
    blobs.mkdir(parents=True)
    copytree(model, snapshot)
    for number, path in enumerate(path for path in snapshot.rglob("*") if path.is_file()):
        move(path, blobs / str(number))
        path.symlink_to(blobs / str(number))
    added = registry.add("cached", snapshot)
    assert added.digest == expected


def test_a_plain_transformers_folder_is_pooled_by_the_mean(
    registry: ModelRegistry, model: Path
) -> None:
    (model / "modules.json").unlink()
    (model / "config_sentence_transformers.json").unlink()
    rmtree(model / "1_Pooling")
    manifest = registry.add("tiny", model).manifest
    assert (manifest.pooling, manifest.normalised) == ("mean", False)


def test_a_hub_id_without_a_network(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(HubUnavailable, match="no folder 'some-organisation/some-model', and the"):
        registry.add("tiny", "some-organisation/some-model")


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "a/b", "a@1", "a" * 64, "ä"])
def test_a_name_that_is_none(registry: ModelRegistry, model: Path, name: str) -> None:
    with pytest.raises(InvalidSetting, match="is no model name"):
        registry.add(name, model)


def test_tiny_models_are_the_same_bytes_for_a_seed(tmp_path: Path) -> None:
    one, same, other = (
        tiny_model(tmp_path / name, seed=seed) for name, seed in (("1", 1), ("2", 1), ("3", 2))
    )
    for path in (path for path in one.rglob("*") if path.is_file()):
        name = path.relative_to(one)
        assert path.read_bytes() == (same / name).read_bytes()
    weights = "model.safetensors"
    assert (one / weights).read_bytes() != (other / weights).read_bytes()
