"""Workspaces that tests start from."""

import subprocess
from pathlib import Path

from actions import add_model, fill

from lockstep.bootstrap import Workspace, open_workspace
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


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder, with its holes: an index is a hundred times as long as it is large."""
    options = ("-r", "--sparse=always", "--no-target-directory")
    subprocess.run(["cp", *options, str(source), str(target)], check=True)
    return target


class Templates:
    """Workspaces of the embedded engine, built once and copied, which takes a thirtieth as long."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[tuple[int, bool], Path] = {}

    def live(
        self, root: Path, *, documents: int = 60, candidate: bool = False, **settings: int | str
    ) -> Path:
        """A workspace as `build_live` leaves it; with `candidate`, v2 by tiny@2 beside v1."""
        copied(self._template(documents, candidate), root)
        return new_root(root, **settings)

    def _template(self, documents: int, candidate: bool) -> Path:
        key = documents, candidate
        if key not in self._built:
            root = self._folder / f"{documents}-{candidate}"
            if candidate:
                self.live(root, documents=documents)
            else:
                new_root(root)
            with open_workspace(root) as workspace:
                if candidate:
                    build_next(workspace, root, seed=2, promote=False)
                else:
                    build_live(workspace, root, documents=documents)
            self._built[key] = root
        return self._built[key]


def generation(workspace: Workspace, number: int) -> Generation:
    return Generation.load(workspace.catalog.get(CORPUS, number), workspace.encoders)
