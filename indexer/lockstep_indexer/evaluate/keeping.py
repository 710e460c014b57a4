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


def kept(
    found: Evaluation, report_file: Path | None, runs: Path | None
) -> tuple[list[Path], list[str]]:
    """Write what was asked for: the files and folders, and what could not be written and why.

    What took hours to find is still to be shown where a disk is full.
    """
    written, failed = [], []
    for path, write in ((runs, _write_runs), (report_file, _write_report)):
        if path is None:
            continue
        try:
            write(found, path)
        except OSError as error:
            failed.append(f"'{path}' cannot be written: {error.strerror or error}.")
        else:
            written.append(path)
    return written, failed


def _write_report(found: Evaluation, file: Path) -> None:
    text = report(found)
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _write_runs(found: Evaluation, folder: Path) -> None:
    write_qrels(folder / QRELS, found.asked.judgments)
    if found.bm25 is not None:
        write_run(folder / "BM25.run", found.bm25.run, "BM25")
    names = [file_name(model.ref) for model in found.models]
    for name, model in zip(names, found.models, strict=True):
        # Paths may differ in what no file name has.
        unique = name if names.count(name) == 1 else f"{name}.{model.digest[:12]}"
        for way, result in model.results.items():
            tag = file_name(unique, str(way).replace(" + ", "-"))
            write_run(folder / f"{tag}.run", result.run, tag)


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
