"""`python -m crash --cycles 100 --seed 7`: kill, restart, check; exit code 1 where something broke.

`--replay FILE` runs again what a failure file tells.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).parents[1]
# The harness starts its processes and servers as the tests do.
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests" / "support")]
# Tiny models run faster on one thread, and several processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Killed processes leave locks to the tracker, which would tell of them at the end.
os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")

# Imported only now: they need the path, and torch reads the environment as it loads.
from crash.harness import Result, Run, Summary, load_failure  # noqa: E402
from crash.plan import cycles, faults  # noqa: E402
from crash.stage import EMBEDDED, POSTGRESQL, SQLITE, STAND_IN, Setup  # noqa: E402


def main() -> int:
    options = _parser().parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix="lockstep-crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.replay is not None:
        run, planned = load_failure(options.replay, folder)
        count = len(planned)
    else:
        setup = Setup(options.database, options.engine)
        run, count = Run(options.seed, setup, folder), options.cycles
        kinds = faults(embedded=setup.embedded, restartable=setup.restartable)
        planned = list(cycles(options.seed, count, kinds))
    print(f"{count} cycles, seed {run.seed}, {run.setup.database}, {run.setup.engine}", flush=True)
    started = time.monotonic()
    summary = run.all(planned, lambda result: _tell(result, count))
    _summarise(summary, time.monotonic() - started)
    return 1 if summary.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m crash", description="The crash harness.")
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--database", choices=(SQLITE, POSTGRESQL), default=SQLITE)
    parser.add_argument(
        "--engine", default=EMBEDDED, help=f"{EMBEDDED}, {STAND_IN}, or the URL of a Qdrant server"
    )
    parser.add_argument("--replay", type=Path, help="the file that a failing run wrote")
    parser.add_argument("--out", type=Path, help="where workspaces and failure files go")
    return parser


def _tell(result: Result, count: int) -> None:
    width = len(str(count))
    verdict = "VIOLATED" if result.problems else "ok"
    kills = {0: "not reached", 1: "killed", 2: "killed twice"}[result.killed]
    print(
        f"cycle {result.cycle.number:>{width}}  {result.cycle.name:<28} {kills:<12} "
        f"{result.acknowledged:>2} acknowledged  {result.seconds:4.1f} s  {verdict}",
        flush=True,
    )
    for problem in result.problems:
        print(f"    {problem}", flush=True)


def _summarise(summary: Summary, seconds: float) -> None:
    print(f"\ncycles: {summary.cycles} in {seconds:.0f} s")
    print(f"kills: {summary.kills.total()}")
    for point, times in sorted(summary.kills.items()):
        print(f"    {times:>4}  {point}")
    print(f"operations acknowledged: {summary.acknowledged}")
    print(f"violations: {summary.violations}")
    for path in summary.failures:
        print(f"    run it again: python -m crash --replay {path}")


if __name__ == "__main__":
    sys.exit(main())
