"""Texts to encode: what every Python has, or the documents of a BEIR folder."""

import gzip
import json
import os
from pathlib import Path

import numpy as np

_MEDIAN = 640  # characters; source has about 3 a token
_SPREAD = 0.6


def python_source(count: int) -> list[str]:
    """Pieces of the standard library, about 250 tokens each on average, a twentieth over 512."""
    random = np.random.default_rng(0)
    paths = sorted(Path(os.__file__).parent.rglob("*.py"))
    source = "\n".join(
        path.read_text(encoding="utf-8", errors="ignore")
        for path in paths
        if "site-packages" not in path.parts and "test" not in path.parts
    )
    sizes = random.lognormal(np.log(_MEDIAN), _SPREAD, count).astype(int) + 1
    starts = random.integers(0, len(source) - int(sizes.max()), count)
    return [source[at : at + size] for at, size in zip(starts, sizes, strict=True)]


def documents(folder: Path, count: int) -> list[str]:
    """Title and text of as many documents, spread over the collection."""
    path = next(folder.glob("corpus.jsonl*"))
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    chosen = np.random.default_rng(0).permutation(len(rows))[:count]
    return [f"{rows[row].get('title', '')}\n{rows[row]['text']}".strip() for row in chosen]
