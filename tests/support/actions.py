"""What the processes do that tests start and kill: one function per process.

They run under a fork server that has imported everything, so a process starts in milliseconds.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from lockstep import failpoints
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Document
from lockstep.index.spec import SpecOptions
from lockstep.models.encoder import Encoder
from lockstep.testing import tiny_model
from lockstep_indexer.build.reindex import reindex
from lockstep_indexer.engines import choosing
from lockstep_indexer.engines.port import MakeEngine

WORDS = (
    *("red", "green", "blue", "tall", "small", "quick", "lazy"),
    *("river", "stone", "cloud", "engine", "wing", "heat", "pressure"),
)


def fork_server() -> ForkServerContext:
    """A context whose processes start with all that takes long to import."""
    context = multiprocessing.get_context("forkserver")
    # By names that are found without the tests' own search path, which a fork server lacks.
    context.set_forkserver_preload(
        [
            "lockstep.api.server",
            "lockstep_indexer.build.follow",
            "lockstep.testing",
            "sentence_transformers.models",
            "transformers.models.bert.modeling_bert",
        ]
    )
    return context


def document(number: int, revision: int = 0) -> Document:
    """A document whose words depend on its number and revision; some have several passages."""
    words = [WORDS[(number * 7 + revision * 3 + n * n) % len(WORDS)] for n in range(8)]
    sentence = f"{' '.join(words)} number {number} revision {revision}."
    repeats = 1 + (number + revision) % 5
    return Document(
        id=f"doc-{number}",
        text=" ".join([sentence] * repeats * 3),
        title=f"{words[0]} {number}",
        metadata={"parity": number % 2},
    )


def fill(workspace: Workspace, corpus: str, numbers: Sequence[int]) -> None:
    workspace.corpora.create(corpus)
    workspace.corpora.write(corpus, [document(number) for number in numbers])


def add_model(workspace: Workspace, folder: Path, *, seed: int, name: str = "tiny") -> str:
    """Register a tiny model; each seed gives another vector space. Returns its reference."""
    return workspace.models.add(name, str(tiny_model(folder, seed=seed))).ref


def run_reindex(root: Path, corpus: str, ref: str, log: Path, promote: bool = False) -> None:
    """Reindex; append to `log` a line with the number of passages each time some are encoded."""
    _log_encodings(log)
    with open_workspace(root) as workspace:
        reindex(workspace, corpus, workspace.models.resolve(ref), SpecOptions(), promote=promote)


def run_fast_reindex(
    root: Path, corpus: str, ref: str, batches: int, make_engine: MakeEngine = choosing.local_engine
) -> None:
    """Reindex by the fastest way to encode; kill -9 once the points of so many batches are in."""
    choosing.WORTH_ON_CPU = 0.0  # of this process alone
    left = batches

    def count(failpoint: str) -> None:
        nonlocal left
        left -= failpoint == "after the points"
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    with open_workspace(root) as workspace:
        failpoints.arm(count)
        model = workspace.models.resolve(ref)
        reindex(workspace, corpus, model, SpecOptions(), make_engine=make_engine)


def run_promote(root: Path, corpus: str, die: str | None = None) -> None:
    """Promote version 2; `die` names the moment of a kill -9."""
    with open_workspace(root) as workspace:
        _arm(workspace, die)
        workspace.rollouts.promote(corpus, 2)


def run_rollback(root: Path, corpus: str, die: str | None = None) -> None:
    with open_workspace(root) as workspace:
        _arm(workspace, die)
        workspace.rollouts.rollback(corpus)


def run_writes(root: Path, corpus: str, seed: int, log: Path) -> None:
    """Upsert and delete until killed; log each acknowledged write."""
    with open_workspace(root) as workspace, log.open("a", buffering=1) as file:
        revision = 0
        while True:
            time.sleep(0.005)  # three of these and the work they race share two cores
            revision += 1
            number = (revision * 31 + seed * 17) % 200 + seed * 1000
            if revision % 4 == 0:
                workspace.corpora.write(corpus, deletes=[f"doc-{number}"])
                file.write(f"delete doc-{number}\n")
            else:
                changed = document(number, revision)
                workspace.corpora.write(corpus, [changed])
                file.write(f"upsert {changed.id} {changed.content_hash}\n")


# The moments at which a promotion or a rollback can be killed.
DEATHS = (
    "before set_predecessor",
    "after set_predecessor",
    "before set_alias",
    "after set_alias",
    "before set_live",
    "after set_live",
)


def _arm(workspace: Workspace, die: str | None) -> None:
    if die is None:
        return
    when, name = die.split()
    owner: Any = workspace.store if name == "set_alias" else workspace.catalog
    original: Callable[..., Any] = getattr(owner, name)
    live = workspace.rollouts.reconcile("docs")

    def deadly(*arguments: Any, **options: Any) -> Any:
        if name == "set_live" and live is not None and arguments[1] == live.number:
            return original(*arguments, **options)  # a look at what is, not the swap
        if when == "after":
            original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(owner, name, deadly)


def _log_encodings(log: Path) -> None:
    original = Encoder.encode_passages

    def logged(self: Encoder, texts: Sequence[str], *arguments: Any, **options: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{len(texts)}\n")
        return original(self, texts, *arguments, **options)

    Encoder.encode_passages = logged  # type: ignore[method-assign]
