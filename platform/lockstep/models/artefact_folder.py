"""A local folder of artefacts, each in a folder named by its digest."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.claimed_folder import claimed_folder
from lockstep.errors import (
    ArtefactDamaged,
    ArtefactsUnavailable,
    ModelNotFound,
    StorageFull,
)
from lockstep.models.manifest import FileEntry, ModelManifest, canonical_json

MANIFEST_FILE = "manifest.json"
FILES = "files"
_INCOMING = ".incoming"
_CHUNK = 1 << 20


class ArtefactFolder:
    """Artefacts in a local folder: whole or not there at all, even if a copy was killed.

    An artefact is prepared under a name of its own and renamed into its place.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty folder on the same disk, gone at the end of the block.

        What killed processes left behind is removed on the way.
        """
        with storage_errors(str(self.root)), claimed_folder(self.root / _INCOMING) as path:
            yield path

    def publish(self, files: Path, manifest: ModelManifest) -> None:
        """Move a staged folder of files to its place; a whole artefact there is kept.

        A damaged artefact is replaced: adding a model again repairs it.
        """
        digest = manifest.digest
        with self.staging() as staged:
            # The staged folder carries the lock, so what moves is a folder within it.
            artefact = staged / digest
            artefact.mkdir()
            files.rename(artefact / FILES)
            _write(artefact / MANIFEST_FILE, canonical_json(manifest.to_json()))
            _sync_folders(artefact)
            if not self._place(artefact, digest) and not self.is_whole(digest):
                (self.root / digest).rename(staged / "damaged")
                self._place(artefact, digest)

    def _place(self, artefact: Path, digest: str) -> bool:
        try:
            artefact.rename(self.root / digest)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        _sync(self.root)
        return True

    def is_whole(self, digest: str) -> bool:
        try:
            self.fetch(digest)
        except (ArtefactDamaged, ModelNotFound):
            return False
        return True

    def fetch(self, digest: str) -> Path:
        """The folder of an artefact's files, after every byte was compared with its digest.

        Raises ModelNotFound or ArtefactDamaged.
        """
        artefact = self.root / digest
        with storage_errors(str(self.root)):
            if not artefact.is_dir():
                raise ModelNotFound(
                    f"The artefacts have no model of digest {digest[:12]}.",
                    next_step="Add the model again from its source: `lockstep model add`.",
                )
            manifest = read_manifest(artefact / MANIFEST_FILE, digest)
            verify(artefact / FILES, manifest)
        return artefact / FILES


def read_manifest(path: Path, digest: str) -> ModelManifest:
    """A stored manifest. Raises ArtefactDamaged where it does not give the digest."""
    try:
        manifest = ModelManifest.from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(digest, f"{MANIFEST_FILE} cannot be read: {error!r}") from error
    if manifest.digest != digest:
        raise damaged(
            digest, f"{MANIFEST_FILE} has digest {manifest.digest[:12]}, expected {digest[:12]}"
        )
    return manifest


def verify(folder: Path, manifest: ModelManifest) -> None:
    """Compare each file with the manifest. Raises ArtefactDamaged for the first that differs."""
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if _is_leaf(path)}
    for name, entry in manifest.files.items():
        if name not in present:
            raise damaged(manifest.digest, f"{name} is missing")
        actual = _hashed(folder / name)
        if actual != entry:
            raise damaged(
                manifest.digest,
                f"{name} has SHA-256 {actual.sha256[:12]} and {actual.size} bytes, "
                f"expected {entry.sha256[:12]} and {entry.size} bytes",
            )
    if extra := sorted(present - set(manifest.files)):
        raise damaged(manifest.digest, f"{extra[0]} does not belong to it")


def damaged(digest: str, what: str) -> ArtefactDamaged:
    return ArtefactDamaged(
        f"The artefact {digest[:12]} changed since it was added: {what}.",
        next_step="Add the model again from its source, which repairs it: `lockstep model add`.",
    )


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turn errors of the file system into Lockstep's."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"No space is left for the artefacts in '{where}'; nothing was added.",
                next_step="Free some space and run the same command again.",
            ) from error
        raise ArtefactsUnavailable(
            f"The artefacts in '{where}' cannot be read or written: {error}.",
            next_step="Check that the place exists and that this process may use it.",
        ) from error


def _is_leaf(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir()


def _hashed(path: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileEntry(digest.hexdigest(), file.tell())


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(top: Path) -> None:
    for parent, _, _ in os.walk(top):
        _sync(Path(parent))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
