"""This machine: the versions of packages, and the disk."""

import shutil
import sqlite3
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from lockstep.settings import Settings
from lockstep_indexer.build.reclaim import used_bytes
from lockstep_indexer.cli.checks.check import Check, bad, good, warn
from lockstep_indexer.cli.render import duration, megabytes
from lockstep_indexer.encode.token_cache import folder_of
from lockstep_indexer.encode.token_file import is_damaged, newest_path
from lockstep_indexer.encode.token_upkeep import look
from lockstep_indexer.evaluate.scratch import left_behind
from lockstep_indexer.train.runs import KEPT_S, interrupted

SHOWN = ("lockstep", "qdrant-edge-py", "qdrant-client", "torch", "sentence-transformers")
SPARE_BYTES = 1_000_000_000


def packages() -> Iterator[Check]:
    """What is installed, held against what this Lockstep was made for."""
    wrong = [
        bad("packages", f"{name} is {installed}; expected {asked}.", f"pip install '{asked}'")
        for name, installed, asked in _unmet()
    ]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN)
    yield from wrong or [good("packages", versions)]


def _unmet() -> Iterator[tuple[str, str, Requirement]]:
    """Name, installed version and requirement of each package that does not meet it."""
    for text in metadata.requires("lockstep") or ():
        asked = Requirement(text)
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = metadata.version(asked.name)
        except metadata.PackageNotFoundError:
            installed = "not installed"
            yield asked.name, installed, asked
            continue
        if not asked.specifier.contains(installed, prereleases=True):
            yield asked.name, installed, asked


def disk(settings: Settings) -> Check:
    """A re-index needs room for a second index beside the one there is."""
    free = shutil.disk_usage(settings.root).free
    used = used_bytes(settings)
    indexes = "the indexes are on a server" if used is None else _taken(used)
    message = f"{megabytes(free)} free; {indexes}"
    if free > (used or 0) + SPARE_BYTES:
        return good("disk", message)
    return warn("disk", message, "Free some space: lockstep gc CORPUS")


def trainings(settings: Settings) -> Iterator[Check]:
    """Interrupted ones hold checkpoints, each three times the size of its model."""
    for one in interrupted(settings.data):
        message = (
            f"'{one.name}' for '{one.corpus}' was interrupted {duration(one.idle_s)} ago; "
            f"{megabytes(one.size)} in '{one.folder}'"
        )
        mend = (
            f"lockstep gc {one.corpus}"
            if one.idle_s > KEPT_S
            else f"Run the same lockstep train again to go on, or remove '{one.folder}'."
        )
        yield warn("training", message, mend)


def evaluations(settings: Settings) -> Iterator[Check]:
    """What was killed and left its temporary index behind."""
    if size := left_behind(settings):
        message = f"killed evaluations left {megabytes(size)} behind"
        yield warn("evaluations", message, "lockstep gc CORPUS")


def token_cache(settings: Settings) -> Iterator[Check]:
    """Whether it can be read; builds do without it, and take longer."""
    path = newest_path(folder_of(settings))
    if path is None:
        return
    try:
        look(path)
    except sqlite3.Error as error:
        if is_damaged(error):
            message = f"'{path}' is damaged ({error}); documents are tokenized again"
            yield warn("token cache", message, "lockstep gc CORPUS")
        else:
            message = f"'{path}' cannot be read now ({error})"
            yield warn("token cache", message, "Check who may read it and who else has it open.")
        return
    yield good("token cache", f"{megabytes(path.stat().st_size)}, can be read")


def _taken(used: int) -> str:
    return f"the indexes take {megabytes(used)}"
