"""Files of training rows that Lockstep makes, each with its lineage beside it."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import uuid4

from lockstep.errors import InvalidInput
from lockstep.models.manifest import Json, canonical_json
from lockstep_indexer.train.data.examples import TrainingData

LINEAGE_SUFFIX = ".lineage.json"


def lineage_path(path: Path) -> Path:
    """Where the lineage of a file of rows stands: FILE.lineage.json."""
    return path.with_name(path.name + LINEAGE_SUFFIX)


def lineage_of(path: Path, sha256: str) -> Json | None:
    """How a file of rows was made; None where nothing says so, or it says so of other bytes."""
    try:
        told = json.loads(lineage_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict) or told.pop("sha256", None) != sha256:
        return None
    return told


def require_writable(path: Path, *, apart_from: Iterable[Path] = ()) -> None:
    """Raise InvalidInput before any work where a file could not be written, or must not be."""
    if path.suffix != ".jsonl":
        raise InvalidInput(
            f"The output '{path}' is no .jsonl file; rows are written as JSON Lines.",
            next_step="Name it so: --output negatives.jsonl",
        )
    folder = path.absolute().parent
    if not folder.is_dir() or path.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidInput(
            f"The output '{path}' cannot be written: '{folder}' is no folder to write to.",
            next_step="Name a file in a folder that exists and that you may write to.",
        )
    if any(other.exists() and path.absolute() == other.absolute() for other in apart_from):
        raise InvalidInput(
            f"The output '{path}' is a file that is read; it would be lost.",
            next_step="Give the output another name.",
        )


def pair_rows(data: TrainingData) -> Iterator[Json]:
    """Rows of query, passage and, where known, document_id and grade."""
    for one in data.examples:
        row: Json = {"query": one.query, "passage": one.passage}
        if one.group:
            row["document_id"] = one.group
        if one.score is not None:
            row["grade"] = int(one.score) if one.score.is_integer() else one.score
        yield row


def write_rows(path: Path, rows: Iterable[Json], lineage: Json) -> None:
    """Write rows as JSON Lines, and beside them their lineage with the file's SHA-256.

    Each file is there whole or as it was. Readers believe a lineage only of the file it names.
    """
    digest = hashlib.sha256()
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            for row in rows:
                line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
                digest.update(line)
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        told = canonical_json({"sha256": digest.hexdigest(), **lineage})
        part.write_text(f"{told}\n", encoding="utf-8")
        part.replace(lineage_path(path))
    finally:
        part.unlink(missing_ok=True)
