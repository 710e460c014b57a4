"""What encodes, by the options of `reindex`."""

from pathlib import Path

import pytest
import typer

from lockstep.settings import Settings
from lockstep_indexer.cli.engine_options import chosen_engine
from lockstep_indexer.engines.choosing import local_engine


def test_without_options_this_process_encodes() -> None:
    chosen = chosen_engine("local", "ray://elsewhere:10001", None)
    assert chosen.make is local_engine
    with chosen.reached(Settings(root=Path())):
        pass


def test_workers_are_refused_where_nothing_takes_them() -> None:
    with pytest.raises(typer.BadParameter, match="--engine ray"):
        chosen_engine("local", "local", 2)
