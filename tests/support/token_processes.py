"""What the processes do that test the token cache.

python token_processes.py FOLDER FIRST LAST [MAX_FILE_BYTES]: puts numbered records in batches, and
prints the last number of each batch that it was done with.
"""

import hashlib
import resource
import sys
from pathlib import Path

from lockstep_indexer.encode.token_cache import TokenCache
from lockstep_indexer.encode.token_families import Family

FAMILY = Family("of the processes", "a model")
BATCH = 20


def content_hash(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def record(number: int) -> bytes:
    return f"{number} ".encode() * 300


def put_all(folder: Path, first: int, last: int) -> None:
    with TokenCache(folder, 1 << 30, spare_bytes=0) as cache:
        for start in range(first, last, BATCH):
            numbers = range(start, min(start + BATCH, last))
            cache.put(FAMILY, {content_hash(number): record(number) for number in numbers})
            print(numbers[-1], flush=True)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
    put_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
