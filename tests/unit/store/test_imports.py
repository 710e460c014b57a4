"""The worker process starts for every collection, and answers searches, so it imports little."""

import subprocess
import sys
from pathlib import Path

import lockstep.store.port

SOURCE = str(Path(lockstep.store.port.__file__).parents[2])
HEAVY = (
    "torch",
    "sqlalchemy",
    "qdrant_client",
    "pydantic",
    "transformers",
    "fastapi",
    "tokenizers",
)


def test_the_worker_imports_nothing_heavy() -> None:
    program = (
        f"import sys; sys.path.insert(0, {SOURCE!r}); "
        "import lockstep.store.edge_worker, lockstep.search.hits; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
