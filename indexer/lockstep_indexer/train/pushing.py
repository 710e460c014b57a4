"""Pushing a model version elsewhere: to a hub repository, or any storage that fsspec reaches."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lockstep.bootstrap import Workspace
from lockstep.errors import (
    ArtefactsUnavailable,
    HubUnavailable,
    InvalidInput,
    InvalidSetting,
    LockstepError,
)
from lockstep.models.artefact_folder import storage_errors, verify
from lockstep.models.registry import ModelVersion

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Pushed:
    """What stands at the target now."""

    target: str
    files: int
    size: int  # bytes
    changed: bool  # False where it was there already
    commit: str | None = None  # of a hub repository


def push(workspace: Workspace, version: ModelVersion, target: str, *, public: bool) -> Pushed:
    """Copy a version's verified files to ORGANISATION/MODEL on the hub, a path, or a URL.

    A hub gets one commit, a local folder appears by one rename. Elsewhere the weights go last: what
    was cut short cannot be loaded. Raises InvalidInput, HubUnavailable, ArtefactsUnavailable or
    StorageFull.
    """
    files = workspace.artefacts.fetch(version.digest)
    if is_hub_id(target):
        return _push_to_hub(files, version, target, public=public)
    filesystem, path = _opened(target)
    if isinstance(filesystem, LocalFileSystem):
        return _push_to_folder(files, version, Path(path))
    return _push_to_storage(files, version, filesystem, path.rstrip("/"), target)


def is_hub_id(target: str) -> bool:
    """Whether it is ORGANISATION/MODEL; a folder is written ./FOLDER, or with its whole path."""
    return _HUB_ID.fullmatch(target) is not None


def _pushed(version: ModelVersion, target: str, *, changed: bool, commit: str = "") -> Pushed:
    manifest = version.manifest
    return Pushed(target, len(manifest.files), manifest.size, changed, commit or None)


def _push_to_hub(files: Path, version: ModelVersion, target: str, *, public: bool) -> Pushed:
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(target, private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=target,
            folder_path=files,
            commit_message=f"{version.ref}, digest {version.digest[:12]}",
            delete_patterns="*",  # the repository holds this version and nothing of another
        )
    except Exception as error:  # the client's, its transport's, and the system's
        raise HubUnavailable(
            f"The hub did not take '{target}': {_first_line(error)}. Nothing was pushed.",
            next_step="Log in with `hf auth login`, check the name, and run it again.",
        ) from error
    return _pushed(version, target, changed=True, commit=str(commit.oid))


def _push_to_folder(files: Path, version: ModelVersion, target: Path) -> Pushed:
    with storage_errors(str(target.parent)):
        if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
            _require_same(target, version)
            return _pushed(version, str(target), changed=False)
        partial = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
        try:
            for name in version.manifest.files:
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files / name, partial / name)
            verify(partial, version.manifest)
            partial.rename(target)  # an empty folder is replaced
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _pushed(version, str(target), changed=True)


def _require_same(target: Path, version: ModelVersion) -> None:
    try:
        verify(target, version.manifest)
    except (LockstepError, OSError) as error:
        raise _occupied(str(target)) from error


def _push_to_storage(
    files: Path, version: ModelVersion, filesystem: Any, root: str, target: str
) -> Pushed:
    manifest = version.manifest
    with _errors(target):
        present = _sizes(filesystem, root)
    wanted = {name: entry.size for name, entry in manifest.files.items()}
    if present == wanted:
        return _pushed(version, target, changed=False)
    if present.keys() - wanted.keys() or any(present[name] != wanted[name] for name in present):
        raise _occupied(target)
    # What an interrupted push left is whole files of this very size; they are sent again.
    written: list[str] = []
    with _errors(target, undo=lambda: _remove(filesystem, root, written)):
        for name in _weights_last(list(wanted)):
            filesystem.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
            written.append(name)
            filesystem.put_file(str(files / name), f"{root}/{name}")
        arrived = _sizes(filesystem, root)
        if arrived != wanted:
            short = sorted(name for name in wanted if arrived.get(name) != wanted[name])
            raise ArtefactsUnavailable(f"'{target}' holds other bytes than were sent: {short[0]}.")
    return _pushed(version, target, changed=True)


def _weights_last(names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (name.endswith(".safetensors"), name))


def _sizes(filesystem: Any, root: str) -> dict[str, int]:
    """The size of each file below a folder, by its relative path."""
    filesystem.invalidate_cache()
    if not filesystem.exists(root):
        return {}
    found = filesystem.find(root, detail=True)
    prefix = f"{str(filesystem._strip_protocol(root)).rstrip('/')}/"
    return {name.removeprefix(prefix): int(entry["size"]) for name, entry in found.items()}


def _remove(filesystem: Any, root: str, names: Sequence[str]) -> None:
    for name in reversed(names):
        filesystem.rm_file(f"{root}/{name}")


@contextmanager
def _errors(target: str, *, undo: Callable[[], None] | None = None) -> Iterator[None]:
    """Each storage has errors of its own; all that is known is that it did not work."""
    try:
        yield
    except Exception as error:
        left = ""
        if undo is not None:
            try:
                undo()
            except Exception:
                left = " Some files stay there, without the weights: they cannot be loaded."
        why = error.message if isinstance(error, LockstepError) else _first_line(error)
        raise ArtefactsUnavailable(
            f"'{target}' did not take the model: {why}.{left}",
            next_step="Check the address and this process's credentials, and run it again.",
        ) from error


def _opened(target: str) -> tuple[Any, str]:
    try:
        filesystem, path = fsspec.core.url_to_fs(
            str(Path(target).expanduser()) if "://" not in target else target
        )
    except (ImportError, ValueError) as error:
        raise InvalidSetting(
            f"'{target}' is no place for a model: {error}.",
            next_step="Give ORGANISATION/MODEL, a folder, or a URL whose fsspec package is there.",
        ) from error
    return filesystem, path


def _occupied(target: str) -> InvalidInput:
    return InvalidInput(
        f"'{target}' holds something else; nothing was pushed.",
        next_step="Choose a folder that is not there yet.",
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
