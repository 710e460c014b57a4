"""Pairs mined from how documents are built."""

from pathlib import Path

from lockstep.corpus.documents import Document
from lockstep_indexer.train.data.examples import TrainingData
from lockstep_indexer.train.data.reading import read_training_data
from lockstep_indexer.train.data.row_files import pair_rows, write_rows
from lockstep_indexer.train.data.structure import Way, mined_from_structure

LONG = "It goes on for long enough that a model finds something to learn from in what is said here."
GUIDE = f"""A guide to the product.

{LONG}

## Set up

{LONG} Set up takes a minute.

Usage
-----
{LONG}

### Empty

# Too short
Tiny.
"""


def mined(*documents: Document, ways: tuple[Way, ...] = tuple(Way)) -> dict[str, str]:
    examples = mined_from_structure(documents, ways=ways).examples
    return {one.query: one.passage for one in examples}


def test_headings_ask_and_their_sections_answer() -> None:
    found = mined(Document("d", GUIDE, "Product"), ways=(Way.HEADING,))
    assert found == {"Product: Set up": f"{LONG} Set up takes a minute.", "Product: Usage": LONG}


def test_a_summary_asks_and_the_rest_answers_under_the_title() -> None:
    by_paragraph = mined(Document("d", f"Open a file.\n\n{LONG}", "io.open"), ways=(Way.SUMMARY,))
    assert by_paragraph == {"Open a file.": f"io.open\n{LONG}"}
    by_sentence = mined(Document("d", f"Open a file. {LONG}"), ways=(Way.SUMMARY,))
    assert by_sentence == {"Open a file.": LONG}
    assert mined(Document("d", "Open a file. And close it."), ways=(Way.SUMMARY,)) == {}


def test_a_title_asks_where_it_names_one_document() -> None:
    one = Document("a", f"Red Fox: {LONG} The red  fox is small.", "Red fox")
    others = [Document(name, f"{LONG} {name}", "Shared title") for name in "bc"]
    found = mined(one, *others, ways=(Way.TITLE,))
    assert found == {"Red fox": f"{LONG} The red  fox is small."}


def test_the_words_that_ask_are_not_in_what_answers() -> None:
    found = mined(
        Document("d", f"How it works\n\n{LONG} How it  works: so.", "T"), ways=(Way.SUMMARY,)
    )
    assert found == {"How it works": f"T\n{LONG} : so."}


def test_draws_are_the_same_for_the_same_seed_and_say_where_they_come_from(tmp_path: Path) -> None:
    documents = [Document(f"d{n}", f"Number {n} says so. {LONG}", f"Title {n}") for n in range(30)]

    def draw(seed: int) -> TrainingData:
        return mined_from_structure(documents, limit=10, seed=seed)

    assert draw(1).examples == draw(1).examples != draw(2).examples
    lineage = draw(1).lineage
    assert sum(lineage["ways"].values()) == 10
    assert (lineage["documents"], lineage["seed"]) == (30, 1)
    path = tmp_path / "pairs.jsonl"
    write_rows(path, pair_rows(draw(1)), draw(1).lineage)
    read = read_training_data([path])
    assert read.examples == draw(1).examples
    assert read.lineage["files"][0]["made_by"] == lineage
    assert len(list(tmp_path.iterdir())) == 2
