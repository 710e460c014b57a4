"""TREC files: runs and judgments as trec_eval reads them, so that anyone can check the figures."""

import re
from collections.abc import Iterator
from pathlib import Path

from lockstep.errors import InvalidInput
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


def read_run(path: Path) -> dict[str, list[str]]:
    """The documents of each query by falling score, as trec_eval takes them; ties by rank.

    Raises InvalidInput naming file and line.
    """
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for number, fields in _lines(path):
        try:
            query, _, document, rank, score, _ = fields
            place = (-float(score), int(rank))
        except ValueError as error:
            raise InvalidInput(
                f"'{path}', line {number}: it has {len(fields)} columns; expected TREC's six: "
                "query, Q0, document, rank, score, tag."
            ) from error
        if document in found.setdefault(query, {}):
            raise InvalidInput(
                f"'{path}', line {number}: document '{document}' stands twice for '{query}'."
            )
        found[query][document] = place
    return {query: sorted(places, key=places.__getitem__) for query, places in found.items()}


def file_name(*parts: str) -> str:
    """A name for a file made of any texts."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", ".".join(parts)).strip("-.") or "run"


def _word(text: str) -> str:
    """Columns are parted by spaces, which an id may hold."""
    return re.sub(r"[\s%]", lambda found: "".join(f"%{b:02X}" for b in found[0].encode()), text)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.split()
