"""Failpoints: named moments at which a test may end the process, or do worse.

The code calls `reached` at the moments that its promises depend on. Outside of tests nobody has
armed them, and a call costs as much as looking at a variable.
"""

from collections.abc import Callable

# Every moment there is. The crash harness kills a process at each of them.
NAMES = (
    "before the commit",
    "after the commit",
    "before the points",
    "after the points",
    "after the flush",
    "after the checkpoint",
    "before the alias",
    "after the alias",
    "inside the manifest",
    "before the drop",
)

_armed: Callable[[str], None] | None = None


def arm(action: Callable[[str], None] | None) -> None:
    """Call `action` with the name of every failpoint from now on; None disarms them."""
    global _armed
    _armed = action


def reached(name: str) -> None:
    """Say that a failpoint is reached."""
    if _armed is not None:
        _armed(name)
