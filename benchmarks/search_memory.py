"""Whether a server's memory stays flat over many searches.

    python -m benchmarks.search_memory --root WORKSPACE --corpus CORPUS [--searches 100000]
        [--queries queries.jsonl]

Every search is another one: words of the queries in another order, in all modes, with filters,
facets, highlights, groups, cursors and batches by turns. Prints the resident memory of the server
and of the engine's processes every tenth of the way, and the slope over the second half.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from lockstep.bootstrap import open_workspace

MIB = 1 << 20
FILTER = {"must_not": [{"key": "no_such_field", "match": {"value": 1}}]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--queries", type=Path, help="BEIR's queries.jsonl; else titles")
    parser.add_argument("--searches", type=int, default=100_000)
    options = parser.parse_args()
    bodies = _bodies(_words(options.root, options.corpus, options.queries))
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "lockstep_indexer", "--workspace", str(options.root)]
        server = subprocess.Popen(
            [*command, "--json", "serve", "--port", "0", "--no-access-log"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            _run(url, options.corpus, bodies, options.searches, psutil.Process(server.pid))
        finally:
            server.terminate()
            server.wait()


def _words(root: Path, corpus: str, queries: Path | None) -> list[str]:
    if queries is not None:
        texts = [json.loads(line)["text"] for line in queries.read_text().splitlines()]
    else:
        with open_workspace(root) as workspace:
            texts = [one.title or one.text for one in workspace.corpora.spread(corpus, 500)]
    return sorted({word for text in texts for word in text.split()})


def _bodies(words: list[str]) -> Iterator[dict[str, Any]]:
    chance = random.Random(7)
    for number in itertools.count():
        query = " ".join(chance.choices(words, k=chance.randint(2, 12)))
        body = {"query": query, "mode": ("hybrid", "hybrid", "dense", "lexical")[number % 4]}
        kinds: list[dict[str, Any]] = [
            {},
            {"highlight": True},
            {"filter": FILTER, "explain": True},
            {"limit": 50, "offset": number % 100},
            {"group_by_document": False, "prefilter": False},
            {"diversity": {}},
            {"fusion": {"method": "rrf"}},
        ]
        yield {**body, **kinds[number % len(kinds)]}


def _run(
    url: str, corpus: str, bodies: Iterator[dict[str, Any]], searches: int, server: psutil.Process
) -> None:
    samples: list[tuple[int, float, float]] = []
    started = time.monotonic()
    with httpx.Client(base_url=f"{url}/v1/corpora/{corpus}", timeout=60) as http:
        done, step, due = 0, searches // 10, 0
        while done < searches:
            if done >= due:
                samples.append((done, *_resident(server)))
                _tell(samples[-1], time.monotonic() - started)
                due += step
            done += _search(http, next(bodies), done)
        samples.append((done, *_resident(server)))
        _tell(samples[-1], time.monotonic() - started)
    half = np.array(samples[len(samples) // 2 :])
    for name, column in (("server", 1), ("engine", 2)):
        slope = np.polyfit(half[:, 0], half[:, column], 1)[0] * 10_000
        print(f"{name}: {slope:+.2f} MiB per 10,000 searches over the second half")


def _search(http: httpx.Client, body: dict[str, Any], done: int) -> int:
    """Send a search, or now and then more: the next page, or a batch. Returns how many."""
    if done % 50 == 0:
        answer = http.post("/search/batch", json={"searches": [body] * 4})
        answer.raise_for_status()
        return 4
    answer = http.post("/search", json=body)
    answer.raise_for_status()
    cursor = answer.json()["next_cursor"]
    if done % 10 != 1 or cursor is None:
        return 1
    body = {key: value for key, value in body.items() if key != "offset"}
    http.post("/search", json={**body, "cursor": cursor}).raise_for_status()
    return 2


def _resident(server: psutil.Process) -> tuple[float, float]:
    """MiB of the server, and of the processes that it started."""
    engine = sum(child.memory_info().rss for child in server.children(recursive=True))
    return server.memory_info().rss / MIB, engine / MIB


def _tell(sample: tuple[int, float, float], seconds: float) -> None:
    done, server, engine = sample
    print(
        f"{done:>7,} searches {seconds:6.0f} s  server {server:6.1f} MiB  engine {engine:6.1f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
