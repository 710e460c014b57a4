"""How fast a build is and what bounds it, in words and as JSON."""

from dataclasses import replace

from lockstep.index.applier import Progress
from lockstep_indexer.cli.pace import pace_json, rates, short_rates, spent

STAGES = {"read": 0.5, "split": 1.0, "encode": 97.0, "write": 12.0}
PROGRESS = Progress(
    4000,
    4000,
    documents=4000,
    passages=7000,
    tokens=700_000,
    known=3000,
    total_s=100.0,
    stage_s=STAGES,
)


def test_the_line_tells_every_rate_that_is_known() -> None:
    assert rates(PROGRESS) == [
        "4,000 documents",
        "40/s",
        "7,000 passages",
        "70/s",
        "7,000 tokens/s",
    ]


def test_on_a_card_it_tells_the_share_of_the_ceiling() -> None:
    on_card = Progress(1, 1, documents=1, total_s=100.0, least_s=45.0, stage_s=STAGES)
    assert rates(on_card)[-1] == "45% of the card's ceiling"
    assert pace_json(on_card)["ceiling_share"] == 0.45


def test_deletions_are_no_documents() -> None:
    shrunk = replace(PROGRESS, documents=1000, deleted=500)
    told = rates(shrunk)
    assert told[:2] == ["1,000 documents", "10/s"]
    assert told[-1] == "500 deletions"
    assert short_rates(shrunk)[0] == "10 docs/s"
    report = pace_json(shrunk)
    assert (report["documents_per_s"], report["deletions"]) == (10.0, 500)


def test_the_last_line_names_what_bounded_the_build() -> None:
    assert spent(PROGRESS) == (
        "reading 0.5 s, splitting 1.0 s, encoding 1 min 37 s, writing 12 s; "
        "bound by encoding: busy 97%; tokens of 75% of the documents known from before"
    )
    by_library = replace(PROGRESS, tokens=0, known=0)
    assert spent(by_library).endswith("busy 97%")
    assert pace_json(by_library)["token_cache_hits"] is None


def test_without_a_cache_nothing_is_said_of_one() -> None:
    uncached = replace(PROGRESS, known=None)
    assert spent(uncached).endswith("busy 97%")
    report = pace_json(uncached)
    assert report["token_cache_hits"] is None
    assert report["documents_with_known_tokens"] is None
    assert Progress(1, 1).then(uncached).known is None
    assert PROGRESS.then(uncached).known == 3000


def test_json_has_the_same() -> None:
    report = pace_json(PROGRESS)
    assert report["bound_by"] == "encode"
    assert report["stages"]["encode"] == {"seconds": 97.0, "busy": 0.97}
    assert (report["documents_per_s"], report["tokens_per_s"]) == (40.0, 7000.0)
    assert report["token_cache_hits"] == 0.75
    assert report["ceiling_share"] is None


def test_a_build_with_nothing_left_to_do_tells_nothing() -> None:
    nothing = Progress(5, 5)
    assert spent(nothing) == ""
    assert pace_json(nothing)["stages"] == {}
    assert pace_json(nothing)["bound_by"] is None
