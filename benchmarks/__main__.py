"""Runs the benchmarks one after the other: `python -m benchmarks --data DIR`.

Without a folder of BEIR collections, those that need none.
"""

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="folder of BEIR collections")
    data = parser.parse_args().data
    runs = [["ingest"], ["store_search"], ["query_encoder"], ["reindex_memory"], ["replicas"]]
    runs += [["facets_and_boosts"], ["rerank"], ["encode"]]
    if data is not None:
        runs += [
            ["bm25_agreement", "--data", str(data)],
            ["search", "--data", str(data), "--collection", "cranfield"],
            ["search", "--data", str(data), "--collection", "medquad"],
            ["fusion", "--data", str(data)],
            ["shadow", "--data", str(data)],
            ["gates", "--data", str(data), "--trials", "10"],
            ["contamination", "--data", str(data)],
        ]
    for name, *options in runs:
        print(f"\n== {name} {' '.join(options)}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=True)


if __name__ == "__main__":
    main()
