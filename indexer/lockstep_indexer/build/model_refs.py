"""Model refs as people type them: a registered version, or a model to register first."""

import re
from pathlib import Path

from lockstep.bootstrap import Workspace
from lockstep.errors import ModelNotFound
from lockstep.index.late_interaction import LateInteraction
from lockstep.models.registry import ModelVersion


def resolve_or_add(workspace: Workspace, ref: str) -> ModelVersion:
    """The version that a ref names; a path or a hub id is registered under its last part.

    A registered name goes before a folder of the same name. Raises ModelNotFound, or what adding
    the model raises.
    """
    try:
        return workspace.models.resolve(ref)
    except ModelNotFound:
        if not is_path(ref):
            raise
    return workspace.models.add(name_for(ref), ref)


def late_interaction_of(workspace: Workspace, ref: str | None) -> LateInteraction | None:
    """What the spec says of the model that gives vectors of tokens, if one is wanted.

    Raises WrongModelKind, and as `resolve_or_add` does.
    """
    return LateInteraction.of(resolve_or_add(workspace, ref)) if ref is not None else None


def name_for(path: str) -> str:
    """A model name made of a path's last part: 'Models/My Model' gives 'my-model'."""
    last = Path(path).expanduser().absolute().name.partition("@")[0].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("._-")[:63] or "model"


def is_path(ref: str) -> bool:
    return "/" in ref or ref.startswith((".", "~")) or Path(ref).is_dir()
