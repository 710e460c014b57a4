"""The time of a whole command, and of what it was made of."""

from lockstep_indexer.cli.stage_times import StageTimes, told

from .conftest import Cli


def test_stages_add_up_to_the_whole() -> None:
    moments = iter([10.0, 14.0, 38.0, 40.0])
    times = StageTimes(clock=lambda: next(moments))
    for stage in ("loading the model", "encoding", "probing"):
        times.begin(stage)
    seconds = times.seconds()
    assert seconds == {"loading the model": 4.0, "encoding": 24.0, "probing": 2.0}
    assert told(seconds) == "30 s: loading the model 4.0 s, encoding 24 s, probing 2.0 s"


def test_nothing_has_begun() -> None:
    assert StageTimes().seconds() == {}


def test_reindex_tells_the_time_of_the_whole_command(cli: Cli) -> None:
    options = ("reindex", "docs", "--model", "tiny", "--window-tokens", "32")
    built = cli(*options, "--json").json
    parts = built["parts"]
    assert list(parts) == [
        "loading the model",
        "measuring passages",
        "choosing how to encode",
        "encoding",
        "optimising",
        "probing",
    ]
    assert built["total_seconds"] >= sum(parts.values()) - 0.01 > built["seconds"]
    said = " ".join(cli(*options[:-1], "24").out.split())
    assert " s: loading the model " in said
    assert "encoding 40 documents" in said
