"""Where a model folder says at which lengths a prefix of its vectors stands alone."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lockstep.errors import InvalidSetting, ModelRejected

# Written by Lockstep's own training, and by model authors such as Jina.
_CONFIG_FIELDS = (
    ("config_sentence_transformers.json", "matryoshka_dims"),
    ("config.json", "matryoshka_dimensions"),
)
_TAG = re.compile(r"^\s*-\s*['\"]?loss:MatryoshkaLoss['\"]?\s*$", re.MULTILINE)

# sentence-transformers writes the loss's settings as JSON, as Python where JSON fails, and as a
# call where the loss sits inside another one.
_DIMS = re.compile(r"matryoshka_dims[\"']?\s*[:=]\s*[\[(]([\d,\s]+)[\])]")


def matryoshka_dims(folder: Path, dim: int) -> tuple[int, ...]:
    """The lengths that the folder names, ascending; empty where it names none.

    Raises ModelRejected for lengths that a model of `dim` dimensions cannot have.
    """
    for name, key in _CONFIG_FIELDS:
        declared = _declared(folder / name, key)
        if declared is None:
            continue
        try:
            return checked_dims(declared, dim)
        except InvalidSetting as error:
            raise ModelRejected(
                f"{name} of the model says {key} = {declared!r}: {error.message}",
                next_step="Correct the file, or name the lengths when adding the model.",
            ) from error
    return _from_card(folder / "README.md", dim)


def checked_dims(dims: Any, dim: int) -> tuple[int, ...]:
    """Lengths in ascending order, each once. Raises InvalidSetting for one that cannot be."""
    if not isinstance(dims, Iterable) or isinstance(dims, (str, bytes)):
        raise InvalidSetting(f"Matryoshka dimensions are {dims!r}; expected a list of numbers.")
    listed = list(dims)
    wrong = [
        each
        for each in listed
        if not isinstance(each, int) or isinstance(each, bool) or not 0 < each <= dim
    ]
    if wrong:
        raise InvalidSetting(
            f"{wrong[0]!r} is no Matryoshka dimension of this model; "
            f"expected whole numbers from 1 to {dim}."
        )
    return tuple(sorted(set(listed)))


def _declared(path: Path, key: str) -> Any:
    if not path.is_file():
        return None
    fields = json.loads(path.read_text(encoding="utf-8"))
    return fields.get(key) if isinstance(fields, dict) else None


def _from_card(path: Path, dim: int) -> tuple[int, ...]:
    """The lengths that every MatryoshkaLoss of the model card has in common."""
    if not path.is_file():
        return ()
    card = path.read_text(encoding="utf-8", errors="replace")
    if not _TAG.search(_front_matter(card)):
        return ()
    found = [{int(text) for text in re.findall(r"\d+", dims)} for dims in _DIMS.findall(card)]
    # Lengths beyond the model's own mean that the card was inherited from another model.
    if not found or max(set().union(*found)) > dim:
        return ()
    return tuple(sorted(set.intersection(*found) - {0}))


def _front_matter(card: str) -> str:
    opened = re.match(r"\s*---\s*\n(.*?)\n---\s*(\n|$)", card, re.DOTALL)
    return opened.group(1) if opened else ""
