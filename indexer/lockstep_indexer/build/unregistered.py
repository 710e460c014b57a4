"""A model version that may not be registered yet: verified as `model add` does, and left alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockstep.bootstrap import Workspace
from lockstep.errors import ModelNotFound
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.compiled_files import CompiledFiles
from lockstep.models.encoder import Encoder, QueryOptions
from lockstep.models.examination import examine
from lockstep.models.loading import load_model
from lockstep.models.manifest import ModelKind
from lockstep.models.query_compiler import QueryCompiler
from lockstep.models.registry import ModelVersion
from lockstep.models.source import locate, take
from lockstep.models.verification import Choices
from lockstep_indexer.build.model_refs import is_path, name_for


@dataclass(frozen=True)
class Examined:
    """A model version in memory, and whether the workspace knows it."""

    version: ModelVersion
    encoder: Encoder
    folder: Path  # of its files
    registered: bool


@contextmanager
def examined(workspace: Workspace, ref: str) -> Iterator[Examined]:
    """The model that a ref, a path or a hub id names; nothing is registered.

    An unregistered one is copied for as long as the block lasts, since only what was copied is what
    was verified. Raises ModelNotFound, or what adding the model would raise.
    """
    try:
        version = workspace.models.resolve(ref)
    except ModelNotFound:
        if not is_path(ref):
            raise
    else:
        yield _registered(workspace, version)
        return
    folder = locate(ref)
    with workspace.artefacts.staging() as staged:
        files = staged / "files"
        files.mkdir()
        taken = take(folder, files)
        manifest = examine(files, taken, Choices(lineage={"source": ref}))
        known = [v for v in workspace.models.list() if v.digest == manifest.digest]
        if known:
            yield _registered(workspace, known[-1])
            return
        name = name_for(ref)
        numbers = [v.version for v in workspace.models.list(name)]
        version = ModelVersion(
            name, max(numbers, default=0) + 1, manifest.digest, manifest, time.time()
        )
        version.require(ModelKind.ENCODER)
        model = load_model(files, device=workspace.settings.device or None)
        queries = _queries(workspace, staged / "compiled")
        yield Examined(version, Encoder(version, model, queries=queries), files, registered=False)


def _queries(workspace: Workspace, folder: Path) -> QueryOptions:
    """Compiled with the first query as for a registered model, and kept in the folder alone."""
    if workspace.settings.query_encoder != "auto":
        return QueryOptions()
    return QueryOptions(QueryCompiler(CompiledFiles(ArtefactStore(str(folder)))))


def _registered(workspace: Workspace, version: ModelVersion) -> Examined:
    encoder = workspace.encoders.get(version.ref)
    return Examined(version, encoder, workspace.artefacts.fetch(version.digest), registered=True)
