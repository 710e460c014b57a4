"""Writing pairs to a file that `read_training_data` reads again."""

import json
import os
import secrets
from pathlib import Path

from lockstep_indexer.train.data.examples import TrainingData


def write_pairs(path: Path, data: TrainingData) -> None:
    """Write JSON Lines of query, passage, document_id and, where known, grade.

    The file is there whole or not at all: it is written beside its place and then renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with fresh.open("w", encoding="utf-8", newline="\n") as file:
            for one in data.examples:
                row: dict[str, object] = {"query": one.query, "passage": one.passage}
                if one.group:
                    row["document_id"] = one.group
                if one.score is not None:
                    row["grade"] = int(one.score) if one.score.is_integer() else one.score
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
