"""The options that say what encodes a corpus: this process, or workers on cards and machines."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from lockstep.settings import Settings
    from lockstep_indexer.engines.port import MakeEngine

_PANEL = "What encodes"

EngineName = Literal["local", "ray"]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        help="ray: workers of a Ray cluster encode, one on each card. Give the same again when an "
        "interrupted build goes on.",
        rich_help_panel=_PANEL,
    ),
]
RayAddressOption = Annotated[
    str,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        envvar="RAY_ADDRESS",
        help="local: a Ray of this machine's own. auto: the one that runs here. Else HOST:PORT, or "
        "ray://HOST:PORT.",
        rich_help_panel=_PANEL,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Ray workers. By default one for each card; without cards, one for 4 cores.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class ChosenEngine:
    """What makes the engine of a build."""

    make: "MakeEngine"
    # To be entered before a build is recorded. Raises what keeps the engine from being made at all:
    # WorkersUnavailable, InvalidSetting, InvalidInput.
    reached: Callable[["Settings"], AbstractContextManager[None]]


def chosen_engine(engine: EngineName, address: str, workers: int | None) -> ChosenEngine:
    """Raises BadParameter, or LockstepError where a package is missing."""
    if engine == "local":
        from lockstep_indexer.engines.choosing import local_engine

        if workers is not None:
            raise typer.BadParameter("--workers goes with --engine ray.")
        return ChosenEngine(local_engine, lambda _: nullcontext())
    from lockstep_indexer.engines.ray import by_ray, joined
    from lockstep_indexer.engines.ray_cluster import RayOptions

    options = RayOptions(address, workers)
    return ChosenEngine(by_ray(options), partial(joined, options))
