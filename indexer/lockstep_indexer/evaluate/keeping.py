"""What is kept of an evaluation: the report, and the runs."""

import importlib.util
import os
import tempfile
from pathlib import Path

from lockstep.errors import InvalidInput
from lockstep_indexer.evaluate.report import report
from lockstep_indexer.evaluate.results import Evaluation
from lockstep_indexer.evaluate.runs import file_name, write_qrels, write_run

QRELS = "qrels.txt"


def require_room(report_file: Path | None, runs: Path | None) -> None:
    """Raise InvalidInput where the one or the other could not be written: before hours of work."""
    if report_file is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise InvalidInput(
                "A report needs matplotlib, which is not installed.",
                next_step="Install it: pip install 'lockstep[train]'",
            )
        if report_file.is_dir():
            raise InvalidInput(f"The report '{report_file}' is a folder; expected a file's name.")
        _require_writable(report_file.absolute().parent, f"The report '{report_file}'")
    if runs is not None:
        try:
            runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(f"The runs' folder '{runs}'", error) from error
        _require_writable(runs, f"The runs' folder '{runs}'")


def kept(found: Evaluation, report_file: Path | None, runs: Path | None) -> list[Path]:
    """Write what was asked for; the files and folders."""
    written = []
    if runs is not None:
        _write_runs(found, runs)
        written.append(runs)
    if report_file is not None:
        temporary = report_file.with_name(f".{report_file.name}.tmp")
        temporary.write_text(report(found), encoding="utf-8")
        temporary.replace(report_file)
        written.append(report_file)
    return written


def _write_runs(found: Evaluation, folder: Path) -> None:
    write_qrels(folder / QRELS, found.asked.judgments)
    if found.bm25 is not None:
        write_run(folder / "BM25.run", found.bm25.run, "BM25")
    for model in found.models:
        for way, result in model.results.items():
            name = file_name(model.ref, str(way).replace(" + ", "-"))
            write_run(folder / f"{name}.run", result.run, name)


def _require_writable(folder: Path, what: str) -> None:
    try:
        descriptor, path = tempfile.mkstemp(dir=folder)
    except OSError as error:
        raise _unwritable(what, error) from error
    os.close(descriptor)
    Path(path).unlink()


def _unwritable(what: str, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"{what} cannot be written: {error.strerror}.",
        next_step="Name a place in a folder that exists and that you may write to.",
    )
