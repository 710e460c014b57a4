"""What index versions take on disk."""

from pathlib import Path

from lockstep.settings import Settings


def used_bytes(settings: Settings, collection: str | None = None) -> int | None:
    """What the embedded indexes take on disk, sparse files counted as they are; None on a server.

    `collection` names one; otherwise all of them count.
    """
    if settings.store_url:
        return None
    folder = settings.data / "index" / "collections"
    return folder_bytes(folder / collection if collection else folder)


def folder_bytes(folder: Path) -> int:
    """What the files of a folder take on disk."""
    total = 0
    for file in folder.rglob("*"):
        try:
            status = file.lstat()
        except FileNotFoundError:  # another process just dropped it
            continue
        total += status.st_blocks * 512
    return total
