"""Where a model comes from: a folder or a hub, and which of its files Lockstep takes."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import HubUnavailable, ModelNotFound, ModelRejected
from lockstep.models.manifest import FileEntry
from lockstep.models.module_list import MODULES_FILE, module_folders

# What sentence-transformers and transformers read, none of which can run code when it is loaded.
TAKEN_SUFFIXES = (".json", ".txt", ".safetensors", ".model", ".jinja")
TAKEN_NAMES = ("README.md",)
HUB_PATTERNS = [*(f"*{suffix}" for suffix in TAKEN_SUFFIXES), *TAKEN_NAMES]

# ORGANISATION/MODEL, or ORGANISATION/MODEL@REVISION.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Taken:
    """What was copied, and what was left behind; paths are relative to the model folder."""

    files: dict[str, FileEntry]
    skipped: list[str]


def locate(source: str | Path) -> Path:
    """The folder of a model: the path itself, or a download of the hub id.

    Raises ModelRejected, ModelNotFound or HubUnavailable.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise ModelRejected(
            f"'{source}' is a file; expected a folder that sentence-transformers saved.",
            next_step="Give the folder that holds modules.json.",
        )
    if not _HUB_ID.fullmatch(str(source)):
        raise ModelRejected(
            f"There is no folder '{source}', and it is not the id of a model on the hub.",
            next_step="Check the path.",
        )
    return _download(str(source))


def take(folder: Path, target: Path) -> Taken:
    """Copy a model's files, following links by content, and hash what was copied.

    Raises ModelRejected for a link that leads outside the model.
    """
    files: dict[str, FileEntry] = {}
    skipped: list[str] = []
    for path in _model_files(folder):
        relative = path.relative_to(folder).as_posix()
        if path.name in TAKEN_NAMES or path.suffix in TAKEN_SUFFIXES:
            _check_link(folder, path)
            files[relative] = _copy(path, target / relative)
        else:
            skipped.append(relative)
    return Taken(dict(sorted(files.items())), sorted(skipped))


def _model_files(folder: Path) -> Iterator[Path]:
    """The files of the folder itself and of its modules' folders; nothing else belongs to it."""
    yield from (path for path in sorted(folder.iterdir()) if not path.is_dir())
    for name in module_folders(folder / MODULES_FILE):
        yield from _walk(folder, folder / name)


def _walk(folder: Path, top: Path) -> Iterator[Path]:
    _check_link(folder, top)
    for parent, subfolders, names in os.walk(top):
        for name in subfolders:
            _check_link(folder, Path(parent, name))
        yield from (Path(parent, name) for name in sorted(names))


def _check_link(folder: Path, path: Path) -> None:
    """A link may lead to a file of the model, or of the hub cache that the model lies in."""
    if not path.is_symlink():
        return
    target = path.resolve()
    inside = any(target.is_relative_to(root) for root in (folder, *_hub_blobs(folder)))
    if target.is_file() and inside:
        return
    what = "is a link to a folder" if target.is_dir() else f"is a link to '{target}'"
    why = "." if inside else ", outside the model folder."
    raise ModelRejected(
        f"{path.relative_to(folder).as_posix()} of the model {what}{why}",
        next_step="Replace the link by what it leads to: cp -rL FOLDER COPY, then add the copy.",
    )


def _hub_blobs(folder: Path) -> list[Path]:
    """A hub cache holds REPO/snapshots/COMMIT/FILE, each a link into REPO/blobs."""
    return [folder.parent.parent / "blobs"] if folder.parent.name == "snapshots" else []


def _copy(path: Path, target: Path) -> FileEntry:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        reader = path.open("rb")
    except OSError as error:
        raise ModelRejected(
            f"{path.name} of the model cannot be read: {error.strerror}.",
            next_step="Check its permissions, and that no link in the folder is broken.",
        ) from error
    with reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return FileEntry(digest.hexdigest(), size)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = hub_id.partition("@")
    try:
        folder = snapshot_download(
            repository, revision=revision or None, allow_patterns=HUB_PATTERNS
        )
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelNotFound(
            f"There is no folder '{hub_id}', and the hub shows no such model.",
            next_step="Check the name; a private or gated model needs `hf auth login`.",
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise HubUnavailable(
            f"There is no folder '{hub_id}', and the model hub does not answer.",
            next_step="Check the path, or download the model elsewhere and give its folder.",
        ) from error
    return Path(folder).resolve()
