"""What makes a model folder unfit before anything of it is loaded."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from lockstep.errors import ModelRejected
from lockstep.models.manifest import ModelKind
from lockstep.models.module_list import MODULES_FILE, read_json, read_modules
from lockstep.models.source import Taken

_LIBRARY = "sentence_transformers."
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt")
_KERNEL_KEYS = ("attn_implementation", "_attn_implementation")
# What sentence-transformers calls the kinds of models that Lockstep takes.
_KINDS = {
    "SentenceTransformer": ModelKind.ENCODER,
    "CrossEncoder": ModelKind.RERANKER,
    "MultiVectorEncoder": ModelKind.LATE_INTERACTION,
}
_SETTINGS_FILE = "config_sentence_transformers.json"
# What a cross-encoder may do to its scores: the library would call anything below `torch`.
_ACTIVATION = re.compile(
    r"torch\.nn\.(modules\.(activation|linear)\.)?(Identity|ReLU|Sigmoid|Softplus|Tanh)"
)


def inspect(folder: Path, taken: Taken) -> ModelKind:
    """Refuse a copied model that is incomplete, or that would run code when it is loaded.

    Returns what kind of model it says it is. Raises ModelRejected.
    """
    kind = _checked_kind(folder)
    _check_code(folder, taken.files)
    _check_pickles(taken)
    _check_weights(folder, taken.files)
    if kind is ModelKind.RERANKER:
        _check_activation(folder)
    return kind


def _checked_kind(folder: Path) -> ModelKind:
    if not (folder / MODULES_FILE).is_file() and not (folder / "config.json").is_file():
        raise ModelRejected(
            "The folder has neither modules.json nor config.json: it holds no "
            "sentence-transformers and no transformers model.",
            next_step="Give the folder that `save_pretrained` of the library wrote.",
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelRejected(
            "The folder holds an adapter (adapter_config.json), whose base model is elsewhere.",
            next_step="Merge it first: `model[0].auto_model.merge_and_unload()`, then save.",
        )
    declared = _settings(folder, _SETTINGS_FILE).get("model_type")
    if declared == "ColBERT" or "HF_ColBERT" in _architectures(folder):
        raise ModelRejected(
            "The folder holds a ColBERT model as other libraries save it; expected the form of "
            "sentence-transformers.",
            next_step="Save it anew: `MultiVectorEncoder(PATH).save_pretrained(NEW_PATH)`.",
        )
    if declared is None:
        return ModelKind.RERANKER if _is_bare_classifier(folder) else ModelKind.ENCODER
    if (kind := _KINDS.get(str(declared))) is None:
        raise ModelRejected(
            f"The folder holds a {declared}; expected a SentenceTransformer, which gives one dense "
            "vector for a text, a CrossEncoder, which gives one score for two texts, or a "
            "MultiVectorEncoder, which gives a vector for each token."
        )
    return kind


def _is_bare_classifier(folder: Path) -> bool:
    """Cross-encoders of before sentence-transformers 5 have no modules.json."""
    first = next(iter(_architectures(folder)), "")
    return not (folder / MODULES_FILE).is_file() and first.endswith("ForSequenceClassification")


def _architectures(folder: Path) -> list[str]:
    names = _settings(folder, "config.json").get("architectures")
    return [str(name) for name in names] if isinstance(names, list) else []


def _check_activation(folder: Path) -> None:
    config = _settings(folder, "config.json")
    named = [
        _settings(folder, _SETTINGS_FILE).get("activation_fn"),
        _fields(config.get("sentence_transformers")).get("activation_fn"),
        config.get("sbert_ce_default_activation_function"),
    ]
    for name in named:
        if name is not None and not _ACTIVATION.fullmatch(str(name)):
            raise ModelRejected(
                f"The model puts its scores through '{name}'; expected Identity, ReLU, Sigmoid, "
                "Softplus or Tanh of torch.nn.",
                next_step="Save it with one of these as its activation_fn.",
            )


def _settings(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    return _fields(read_json(path)) if path.is_file() else {}


def _check_code(folder: Path, files: Sequence[str] | dict[str, Any]) -> None:
    for module in read_modules(folder / MODULES_FILE):
        _check_type(MODULES_FILE, module.type)
    for name in files:
        if not name.endswith(".json"):
            continue
        fields = _fields(read_json(folder / name))
        if "auto_map" in fields:
            raise _runs_code(f"{name} has an auto_map", "that names code of the model's own")
        for kernel in _kernels(fields):
            raise _runs_code(f"{name} asks for the attention kernel '{kernel}'", "from the hub")
        if PurePosixPath(name).name == "router_config.json":
            for kind in _fields(fields.get("types")).values():
                _check_type(name, str(kind))


def _check_type(name: str, kind: str) -> None:
    if not kind.startswith(_LIBRARY):
        raise _runs_code(
            f"{name} names the module type '{kind}'", f"from outside {_LIBRARY.rstrip('.')}"
        )


def _kernels(fields: dict[str, Any]) -> Iterator[str]:
    """Attention implementations that are hub ids, at the top or among the loading arguments."""
    for key, value in fields.items():
        if key in _KERNEL_KEYS and isinstance(value, str) and "/" in value:
            yield value
        elif isinstance(value, dict):
            yield from _kernels(value)


def _runs_code(what: str, why: str) -> ModelRejected:
    return ModelRejected(
        f"{what}, {why}; Lockstep runs no code that comes with a model.",
        next_step="Choose a model that the installed libraries can load by themselves.",
    )


def _check_pickles(taken: Taken) -> None:
    """A folder with pickled weights must have safetensors too, for those are what is taken."""
    safe = {PurePosixPath(name).parent for name in taken.files if name.endswith(".safetensors")}
    for name in taken.skipped:
        path = PurePosixPath(name)
        if path.suffix in _PICKLED and path.name not in _NO_WEIGHTS and path.parent not in safe:
            raise ModelRejected(
                f"The weights are only there as {name}, a pickle, which can run any code when "
                "it is loaded; expected safetensors.",
                next_step="If you trust the file, convert it: `SentenceTransformer(PATH)"
                ".save_pretrained(NEW_PATH, safe_serialization=True)`.",
            )


def _check_weights(folder: Path, files: Sequence[str] | dict[str, Any]) -> None:
    weights = [name for name in files if name.endswith(".safetensors")]
    if not weights:
        raise ModelRejected(
            "The folder holds no weights: no file ends in .safetensors.",
            next_step="Save it by `SentenceTransformer.save_pretrained`, or download it again.",
        )
    for name in weights:
        try:
            with safe_open(folder / name, framework="np") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            raise ModelRejected(
                f"{name} is not a whole safetensors file: {error}.",
                next_step="Copy or download the model again.",
            ) from error
    _check_shards(folder, files)


def _check_shards(folder: Path, files: Sequence[str] | dict[str, Any]) -> None:
    missing: dict[str, set[str]] = defaultdict(set)
    for name in files:
        if name.endswith(".safetensors.index.json"):
            parent = PurePosixPath(name).parent
            shards = _fields(_fields(read_json(folder / name)).get("weight_map")).values()
            missing[name] |= {
                str(shard) for shard in shards if str(parent / str(shard)) not in files
            }
    for name, absent in missing.items():
        if absent:
            raise ModelRejected(
                f"{name} names {len(absent)} files that are missing, such as {min(absent)}.",
                next_step="Copy or download the model again.",
            )


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
