"""How the demo looks."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lockstep.bootstrap import Workspace
from lockstep.index.gate_report import Verdict
from lockstep.models.registry import ModelVersion
from lockstep.search.request import Hit, SearchRequest
from lockstep_indexer.build.reindex import Reindexed
from lockstep_indexer.demo.traffic import Tally

INDENT = (0, 0, 0, 3)
_MARKS = {
    Verdict.PASSED: "[green]✓[/]",
    Verdict.FLAGGED: "[yellow]![/]",
    Verdict.FAILED: "[red]✗[/]",
    Verdict.SKIPPED: "[dim]–[/]",
}


def welcome(console: Console, folder: Path) -> None:
    console.print()
    console.print(
        Panel(
            "A new embedding model makes every stored vector worthless.\n"
            "Lockstep re-encodes the corpus beside the live index, proves the new pair, swaps\n"
            "one alias, and can go back. Here is all of it, on this machine, in a few minutes.",
            title="[bold]Lockstep demo[/]",
            border_style="cyan",
            padding=(1, 2),
            width=92,
        )
    )
    line(console, f"[dim]workspace: {folder}[/]")


def step(console: Console, number: int, title: str) -> None:
    console.print()
    console.print(f"[bold cyan]{number}[/]  [bold]{title}[/]")


def step_done(console: Console, seconds: float) -> None:
    line(console, f"[dim]{seconds:.1f} s[/]")


def line(console: Console, text: str) -> None:
    console.print(Padding(text, INDENT))


def ingested(console: Console, documents: int) -> None:
    line(console, f"[green]✓[/] {documents:,} documents, each with a seq in the change log")


def registered(console: Console, version: ModelVersion) -> None:
    manifest = version.manifest
    line(
        console,
        f"[green]✓[/] [bold]{version.ref}[/]  {manifest.dim} dimensions, "
        f"{manifest.max_tokens} tokens, digest {version.digest[:12]}",
    )


def trained(console: Console, version: ModelVersion, pairs: int) -> None:
    dims = ", ".join(map(str, version.manifest.matryoshka_dims))
    line(
        console,
        f"[green]✓[/] [bold]{version.ref}[/]  from {pairs} pairs; "
        f"the first {dims} dimensions each stand alone",
    )


def built(console: Console, done: Reindexed) -> None:
    progress, probe = done.progress, done.probe
    line(
        console,
        f"[green]✓[/] {probe.documents:,} documents, {probe.points:,} passages, "
        f"{progress.passages / max(progress.encode_s, 1e-9):.0f} passages/s encoded",
    )
    if done.swap is not None and done.swap.gates is not None:
        for result in done.swap.gates.results:
            figure = escape(result.figure)
            line(console, f"{_MARKS[result.verdict]} [bold]{result.gate}[/]  {figure}")
    line(console, f"[green]✓[/] alias → [bold]{done.version.collection}[/]")


def answers(console: Console, workspace: Workspace, corpus: str, queries: Sequence[str]) -> None:
    table = _table("question", "best answer", "from its docstring")
    for query in queries:
        hit = workspace.search(corpus, SearchRequest(query, limit=1)).hits[0]
        table.add_row(query, Text(hit.document_id, style="bold"), _gist(hit))
    console.print(Padding(table, INDENT))


def comparison(console: Console, workspace: Workspace, corpus: str, queries: Sequence[str]) -> None:
    """The same questions on the version before, and on the live one with its prefilter."""
    table = _table("question", "minilm@1", "minilm@2, 64-dim prefilter")
    for query in queries:
        request = SearchRequest(query, limit=1)
        before = workspace.search(corpus, request, index_version=1).hits[0].document_id
        after = workspace.search(corpus, request).hits[0].document_id
        style = "bold" if before == after else "bold yellow"
        table.add_row(query, Text(before), Text(after, style=style))
    console.print(Padding(table, INDENT))


def rolled_back(console: Console, seconds: float) -> None:
    line(console, f"[green]✓[/] minilm@1 answers again after {seconds:.2f} s, nothing re-encoded")


def traffic(console: Console, tally: Tally) -> None:
    """What happened to the searches that ran through both swaps."""
    console.print()
    for (index, model), count in sorted(tally.answered.items()):
        line(console, f"[green]✓[/] {count:>5,} searches answered by {index} with {model}")
    mark = "[red]✗[/]" if tally.failed else "[green]✓[/]"
    line(console, f"{mark} {tally.failed.total():>5,} searches failed")


def history(console: Console, workspace: Workspace, corpus: str) -> None:
    table = _table("step", "from", "to", "outcome")
    for entry in reversed(workspace.catalog.history(corpus)):
        if entry.outcome != "started":
            table.add_row(
                entry.step, _label(entry.from_version), _label(entry.to_version), entry.outcome
            )
    console.print()
    line(console, "[bold]What was done[/] [dim](lockstep status pydocs)[/]")
    console.print(Padding(table, INDENT))


def farewell(console: Console, folder: Path, corpus: str, seconds: float) -> None:
    lockstep = _command()
    commands = (
        f'{lockstep} search {corpus} "parse command line flags"',
        f"{lockstep} status {corpus}",
        f"{lockstep} promote {corpus} 2",
        f"{lockstep} serve        [dim]# then open /docs on it[/]",
    )
    body = "\n".join((f"cd {folder}", *commands))
    console.print()
    console.print(
        Panel(
            body,
            title=f"[bold]Done in {seconds:.0f} s. Try next[/]",
            border_style="cyan",
            padding=(1, 2),
            width=92,
        )
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _gist(hit: Hit) -> str:
    text = " ".join(hit.text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _command() -> str:
    """How this installation's command is called from the user's shell."""
    installed = Path(sys.executable).with_name("lockstep")
    found = shutil.which("lockstep")
    if found is not None and installed.exists() and Path(found).samefile(installed):
        return "lockstep"
    return str(installed)


def _label(number: int | None) -> str:
    return "–" if number is None else f"v{number}"
