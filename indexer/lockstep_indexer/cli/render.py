"""How figures and tables look."""

import time
import unicodedata
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

STATE_STYLES = {
    "live": "bold green",
    "candidate": "cyan",
    "building": "yellow",
    "retired": "default",
    "dropped": "faint",
    "failed": "red",
}


def table(*columns: str, right: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """An airy table: a rule under its head, no other lines; `right` names columns of figures, and
    `whole` those that other columns make room for before their texts are broken.
    """
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=name in whole,
        )
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> RenderableType:
    """A list of names and values, the values in one column; empty ones are left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="faint", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, ""):
            made.add_row(name, value if isinstance(value, Text) else str(value))
    return Padding(made, (0, 0, 0, 2), expand=False)


def heading(text: str, note: str = "") -> Text:
    return Text.assemble((text, "name"), (f"  {note}" if note else "", "faint"))


def done(text: str) -> Text:
    return Text.assemble(("✓ ", "good"), text)


def note(text: str) -> Text:
    return Text.assemble(("! ", "warn"), text)


def next_step(command: str, why: str = "") -> Text:
    """The command to run next."""
    return Text.assemble(
        ("→ ", "faint"), (f"{why}: " if why else "", "faint"), (command, "command")
    )


def state(name: str) -> Text:
    return Text(name, style=STATE_STYLES.get(name, ""))


def duration(seconds: float) -> str:
    """A length of time as people say it: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def age(at: float) -> str:
    """How long ago a moment (seconds since 1970) was."""
    seconds = max(0.0, time.time() - at)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds / 86_400:.0f} d ago"


def moment(at: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def megabytes(count: float) -> str:
    """Bytes in the unit that suits them; 1 MB is a million bytes."""
    for limit, size, unit in (
        (1e3, 1, "B"),
        (999_950, 1e3, "kB"),
        (999_950_000, 1e6, "MB"),
        (999_950_000_000, 1e9, "GB"),
    ):
        if count < limit:
            return f"{count / size:.0f} {unit}" if size == 1 else f"{count / size:.1f} {unit}"
    return f"{count / 1e12:,.1f} TB"


def printable(text: str) -> str:
    """A text from outside as one line that cannot steer the terminal: no control characters."""
    return " ".join("".join(_shown(character) for character in text).split())


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    return "\ufffd" if unicodedata.category(character) in ("Cc", "Cs") else character


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
