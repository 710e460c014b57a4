"""modules.json: the modules that sentence-transformers runs one after the other."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lockstep.errors import ModelRejected

MODULES_FILE = "modules.json"


@dataclass(frozen=True)
class Module:
    """One entry: the class and the folder of its files, "" for the model folder itself."""

    type: str
    path: str


def read_modules(path: Path) -> list[Module]:
    """The entries of a modules.json; none where the file does not exist.

    Raises ModelRejected where the file is not such a list.
    """
    entries = read_json(path) if path.is_file() else []
    if not isinstance(entries, list):
        raise ModelRejected(f"{MODULES_FILE} of the model is not a list of modules.")
    return [_module(entry) for entry in entries]


def module_folders(path: Path) -> list[str]:
    """The folders that a modules.json names below the model folder."""
    return sorted({module.path for module in read_modules(path)} - {""})


def read_json(path: Path) -> Any:
    """A JSON file of the model. Raises ModelRejected where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelRejected(
            f"{path.name} of the model is not JSON: {error}.",
            next_step="Copy or download the model again.",
        ) from error


def _module(entry: Any) -> Module:
    fields = entry if isinstance(entry, dict) else {}
    kind, path = fields.get("type"), fields.get("path", "")
    if not isinstance(kind, str) or not isinstance(path, str):
        raise ModelRejected(f"{MODULES_FILE} of the model has an entry {entry!r} without a type.")
    if "\\" in path or path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ModelRejected(
            f"{MODULES_FILE} of the model names the folder '{path}', outside the model folder."
        )
    folder = PurePosixPath(path).as_posix()
    return Module(kind, "" if folder == "." else folder)
