"""Compiled models on disk: derived from artefacts, made again where anything is wrong with them."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import LockstepError
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.manifest import Json, canonical_json

logger = logging.getLogger(__name__)

_FOLDER = ".compiled"
_RECORD = "record.json"


@dataclass(frozen=True)
class Compiled:
    """What was made of a model version, and the folder that its files are in."""

    report: Json
    folder: Path


class CompiledFiles:
    """A folder for each model version and each version of what compiles it, beside the artefacts.

    Of artefacts in object storage, beside their local copies. What cannot be written is not kept.
    """

    def __init__(self, artefacts: ArtefactStore) -> None:
        self._artefacts = artefacts

    def find(self, digest: str, made_by: str) -> Compiled | None:
        """What is there, whole and unchanged, else None."""
        folder = self._folder(digest, made_by)
        try:
            record = json.loads((folder / _RECORD).read_bytes())
            if record["key"] != [digest, made_by]:
                return None
            if any(_sha256(folder / name) != sha for name, sha in record["files"].items()):
                logger.warning("the compiled model in %s is damaged; it is made again", folder)
                return None
            return Compiled(dict(record["report"]), folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def keep(self, digest: str, made_by: str, report: Json, write: Callable[[Path], None]) -> None:
        """Have the files written and put in place, all of them or none; another's are replaced."""
        folder = self._folder(digest, made_by)
        try:
            with self._artefacts.staging() as staged:
                made = staged / "compiled"
                made.mkdir()
                write(made)
                files = {path.name: _sha256(path) for path in made.iterdir()}
                record = {"key": [digest, made_by], "files": files, "report": report}
                (made / _RECORD).write_text(canonical_json(record), encoding="utf-8")
                folder.parent.mkdir(exist_ok=True)
                if folder.exists():
                    folder.rename(staged / "former")
                made.rename(folder)
        except (OSError, RuntimeError, LockstepError) as error:
            # A full or read-only disk, or another process that was faster.
            logger.info("the compiled model is not kept in %s: %s", folder, error)

    def _folder(self, digest: str, made_by: str) -> Path:
        return self._artefacts.local_root / _FOLDER / f"{digest}-{made_by}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
