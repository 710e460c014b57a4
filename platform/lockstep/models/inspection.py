"""What makes a model folder unfit before anything of it is loaded."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from lockstep.errors import ModelRejected
from lockstep.models.module_list import MODULES_FILE, read_json, read_modules
from lockstep.models.source import Taken

_LIBRARY = "sentence_transformers."
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt")
_KERNEL_KEYS = ("attn_implementation", "_attn_implementation")
_MODEL_TYPE = "SentenceTransformer"


def inspect(folder: Path, taken: Taken) -> None:
    """Refuse a copied model that is incomplete, or that would run code when it is loaded.

    Raises ModelRejected.
    """
    _check_kind(folder)
    _check_code(folder, taken.files)
    _check_pickles(taken)
    _check_weights(folder, taken.files)


def _check_kind(folder: Path) -> None:
    if not (folder / MODULES_FILE).is_file() and not (folder / "config.json").is_file():
        raise ModelRejected(
            "The folder has neither modules.json nor config.json: it holds no "
            "sentence-transformers and no transformers model.",
            next_step="Give the folder that `SentenceTransformer.save_pretrained` wrote.",
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelRejected(
            "The folder holds an adapter (adapter_config.json), whose base model is elsewhere.",
            next_step="Merge it first: `model[0].auto_model.merge_and_unload()`, then save.",
        )
    settings = folder / "config_sentence_transformers.json"
    declared = _fields(read_json(settings)) if settings.is_file() else {}
    if (kind := declared.get("model_type", _MODEL_TYPE)) != _MODEL_TYPE:
        raise ModelRejected(
            f"The folder holds a {kind}; expected a {_MODEL_TYPE}, which gives one dense vector "
            "for a text."
        )


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
