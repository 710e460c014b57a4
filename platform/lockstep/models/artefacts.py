"""The artefact store: the files of every model version, in a folder or in object storage."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lockstep.errors import (
    ArtefactsUnavailable,
    InvalidSetting,
    LockstepError,
    ModelNotFound,
)
from lockstep.models.artefact_folder import (
    FILES,
    MANIFEST_FILE,
    ArtefactFolder,
    damaged,
    storage_errors,
    verify,
)
from lockstep.models.manifest import ModelManifest, canonical_json

DEFAULT_CACHE = Path("~/.cache/lockstep/models")


class ArtefactStore:
    """Immutable artefacts under a path or an fsspec URL, each named by its digest.

    What lies elsewhere than on a local disk is downloaded into `cache` once, and verified there
    before each use. Any number of processes may add and fetch at once.
    """

    def __init__(self, url: str, *, cache: Path | None = None) -> None:
        self.url = url
        filesystem, path = _opened(url)
        self._remote: _Remote | None = None
        if isinstance(filesystem, LocalFileSystem):
            self._local = ArtefactFolder(Path(path))
        else:
            self._remote = _Remote(filesystem, path, url)
            self._local = ArtefactFolder((cache or DEFAULT_CACHE).expanduser())

    @property
    def local_root(self) -> Path:
        """The local folder that artefacts, or copies of them, are in."""
        return self._local.root

    def staging(self) -> AbstractContextManager[Path]:
        """An empty local folder to prepare an artefact in, gone at the end of the block."""
        return self._local.staging()

    def publish(self, files: Path, manifest: ModelManifest) -> None:
        """Store a folder of files as the artefact of its manifest; the folder moves away.

        An artefact of this digest that is whole is kept, a damaged one is replaced.
        Raises StorageFull or ArtefactsUnavailable.
        """
        with storage_errors(self.url):
            self._local.publish(files, manifest)
            if self._remote is not None:
                self._remote.upload(self._local.fetch(manifest.digest), manifest)

    def fetch(self, digest: str) -> Path:
        """A local folder with the artefact's files, each verified just now.

        Raises ModelNotFound, ArtefactDamaged, ArtefactsUnavailable or StorageFull.
        """
        if self._remote is not None and not self._local.is_whole(digest):
            with self._local.staging() as staged:
                manifest = self._remote.download(digest, staged / FILES)
                self._local.publish(staged / FILES, manifest)
        return self._local.fetch(digest)


def _opened(url: str) -> tuple[Any, str]:
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InvalidSetting(
            f"'{url}' is no place for artefacts: {error}.",
            next_step="Give a folder, or a URL of a storage whose fsspec package is installed.",
        ) from error
    return filesystem, path


class _Remote:
    """Artefacts in object storage. The manifest is written last: without it there is none."""

    def __init__(self, filesystem: Any, root: str, url: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._url = url

    def upload(self, files: Path, manifest: ModelManifest) -> None:
        target = f"{self._root}/{manifest.digest}"
        with self._errors():
            for name in manifest.files:
                remote = f"{target}/{FILES}/{name}"
                self._filesystem.makedirs(remote.rpartition("/")[0], exist_ok=True)
                self._filesystem.put_file(str(files / name), remote)
            text = canonical_json(manifest.to_json())
            self._filesystem.pipe_file(f"{target}/{MANIFEST_FILE}", text.encode())

    def download(self, digest: str, folder: Path) -> ModelManifest:
        """Bring an artefact into a folder and verify it."""
        source = f"{self._root}/{digest}"
        manifest = self._manifest(source, digest)
        for name in manifest.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with self._errors():
                try:
                    self._filesystem.get_file(f"{source}/{FILES}/{name}", str(folder / name))
                except FileNotFoundError as error:
                    raise damaged(digest, f"{name} is missing") from error
        verify(folder, manifest)
        return manifest

    def _manifest(self, source: str, digest: str) -> ModelManifest:
        with self._errors():
            try:
                content = self._filesystem.cat_file(f"{source}/{MANIFEST_FILE}")
            except FileNotFoundError as error:
                raise ModelNotFound(
                    f"The artefacts in '{self._url}' have no model of digest {digest[:12]}.",
                    next_step="Add the model again from its source: `lockstep model add`.",
                ) from error
        try:
            manifest = ModelManifest.from_json(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(digest, f"{MANIFEST_FILE} cannot be read: {error!r}") from error
        if manifest.digest != digest:
            raise damaged(digest, f"{MANIFEST_FILE} has digest {manifest.digest[:12]}")
        return manifest

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Each storage has errors of its own; all that is known is that it did not work."""
        try:
            yield
        except LockstepError:
            raise
        except Exception as error:
            raise ArtefactsUnavailable(
                f"The artefacts in '{self._url}' do not answer: {type(error).__name__}: {error}.",
                next_step="Check the address and this process's credentials.",
            ) from error
