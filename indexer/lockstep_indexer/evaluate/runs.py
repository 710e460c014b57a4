"""TREC files: runs and judgments as trec_eval reads them, so that anyone can check the figures."""

import re
from pathlib import Path

from lockstep_indexer.evaluate.measures import Judgments, Run


def write_run(path: Path, run: Run, tag: str) -> None:
    """Six columns a line. Scores fall by one with each rank: trec_eval sorts by score alone."""
    with path.open("w", encoding="utf-8") as file:
        for query, ranking in sorted(run.items()):
            for rank, document in enumerate(ranking, start=1):
                score = len(ranking) + 1 - rank
                file.write(f"{_word(query)} Q0 {_word(document)} {rank} {score} {_word(tag)}\n")


def write_qrels(path: Path, judgments: Judgments) -> None:
    """Four columns a line."""
    with path.open("w", encoding="utf-8") as file:
        for query, judged in sorted(judgments.items()):
            for document, grade in sorted(judged.items()):
                file.write(f"{_word(query)} 0 {_word(document)} {grade}\n")


def file_name(*parts: str) -> str:
    """A name for a file made of any texts."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", ".".join(parts)).strip("-.") or "run"


def _word(text: str) -> str:
    """Columns are parted by spaces, which an id may hold."""
    return re.sub(r"[\s%]", lambda found: "".join(f"%{b:02X}" for b in found[0].encode()), text)
