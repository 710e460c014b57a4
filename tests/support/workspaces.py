"""Workspaces that tests start from."""

from pathlib import Path

from actions import add_model, fill

from lockstep.bootstrap import Workspace
from lockstep.index.generation import Generation
from lockstep.index.spec import SpecOptions
from lockstep.settings import init_workspace
from lockstep_indexer.build.reindex import Reindexed, reindex

CORPUS = "docs"


def new_root(folder: Path, **settings: int | str) -> Path:
    """An initialised workspace folder with some settings of its own."""
    init_workspace(folder)
    lines = [f"{key} = {value!r}\n" for key, value in settings.items()]
    (folder / "lockstep.toml").write_text("".join(lines))
    return folder


def build_live(workspace: Workspace, models: Path, *, documents: int = 60) -> Reindexed:
    """Fill the corpus and make a first index version live, built by model tiny@1."""
    fill(workspace, CORPUS, range(documents))
    return build_next(workspace, models, seed=1)


def build_next(
    workspace: Workspace,
    models: Path,
    *,
    seed: int,
    promote: bool = True,
    options: SpecOptions | None = None,
) -> Reindexed:
    """Register another tiny model and build an index version with it."""
    ref = add_model(workspace, models / f"model-{seed}", seed=seed)
    model = workspace.models.resolve(ref)
    return reindex(workspace, CORPUS, model, options or SpecOptions(), promote=promote)


def generation(workspace: Workspace, number: int) -> Generation:
    return Generation.load(workspace.catalog.get(CORPUS, number), workspace.encoders)
