"""Writing while a model trains: whole or not at all, and full disks told apart from bugs."""

import errno
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.errors import StorageFull
from lockstep_indexer.train.settings import TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_CHECKPOINTS = 3
_SETTINGS = "config_sentence_transformers.json"
# safetensors and torch wrap the system's error in errors of their own.
_FULL = re.compile(r"no space left|os error 28|disk quota|\[enforce fail at inline_container", re.I)


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Raises StorageFull for whatever the libraries say when the disk is full."""
    try:
        yield
    except Exception as error:
        if not _is_full(error):
            raise
        raise StorageFull(
            f"No space is left in '{folder}' for what the training writes; nothing was registered.",
            next_step="Free some space and run the same command again: it goes on at the last "
            "whole checkpoint.",
        ) from error


def require_space(model: "SentenceTransformer", folder: Path, settings: TrainingSettings) -> None:
    """Raise StorageFull before a training whose checkpoints and result the disk cannot hold.

    A checkpoint is the weights and, of each that is trained, two numbers of the optimiser's. The
    best and the newest one are kept while the next is written; then the result is.
    """
    weights = sum(each.numel() * each.element_size() for each in model.state_dict().values())
    checkpoint = weights * (1 if settings.lora_rank else 3)
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed = _CHECKPOINTS * checkpoint + weights - written
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StorageFull(
            f"The checkpoints of this training take {needed / 1e6:,.0f} MB more in '{folder}', "
            f"and {free / 1e6:,.0f} MB are free; nothing was trained.",
            next_step="Free some space and run it again: `lockstep gc CORPUS` drops old indexes "
            "and interrupted trainings. Adapters (--lora 16) take a third.",
        )


def save_result(
    model: "SentenceTransformer", output: Path, dims: Sequence[int], settings: TrainingSettings
) -> None:
    """Save a plain model beside its place and move it there; what was there is replaced."""
    for name, prompt in _prompts(settings).items():
        model.prompts[name] = prompt
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(str(partial), create_model_card=False, safe_serialization=True)
    path = partial / _SETTINGS
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["matryoshka_dims"] = sorted(dims) if len(dims) > 1 else []
    path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    partial.rename(output)


def _prompts(settings: TrainingSettings) -> dict[str, str]:
    named = {"query": settings.query_prompt, "document": settings.document_prompt}
    return {name: prompt for name, prompt in named.items() if prompt is not None}


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if not isinstance(error, OSError) and _FULL.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
