"""Excerpts: which part of a passage is shown, and which of its words stand out."""

from hypothesis import given
from hypothesis import strategies as st

from lockstep.lexical.bm25 import Bm25Settings
from lockstep_indexer.cli.hits import excerpt, highlighter
from lockstep_indexer.cli.render import printable

ENGLISH = Bm25Settings(avg_length=10.0)


def emphasised(text: str, query: str, length: int = 200) -> list[str]:
    shown = excerpt(text, highlighter(ENGLISH, query), length)
    return [shown.plain[span.start : span.end] for span in shown.spans]


def test_every_form_of_a_word_stands_out() -> None:
    text = "Reading a file: the reader reads files, but readable is another word."
    assert emphasised(text, "reads file") == ["Reading", "file", "reads", "files"]


def test_stop_words_do_not_stand_out() -> None:
    assert emphasised("The cat is on the mat", "the cat is") == ["cat"]


def test_the_part_with_the_matches_is_shown() -> None:
    text = "filler " * 100 + "an okapi eats leaves, the okapi sleeps " + "filler " * 100
    shown = excerpt(text, highlighter(ENGLISH, "okapi"), 80)
    assert shown.plain.count("okapi") == 2
    assert shown.plain.startswith("… ")
    assert shown.plain.endswith(" …")


def test_markup_in_a_text_is_text() -> None:
    assert excerpt("[red]danger[/]", highlighter(ENGLISH, "danger"), 80).plain == "[red]danger[/]"


@given(
    text=st.text(min_size=1, max_size=400),
    query=st.text(max_size=40),
    length=st.integers(min_value=10, max_value=120),
)
def test_an_excerpt_is_short_and_comes_from_the_text(text: str, query: str, length: int) -> None:
    shown = excerpt(text, highlighter(ENGLISH, query), length).plain
    assert len(shown) <= length + 4
    flat = printable(text)
    assert shown in flat or shown.removeprefix("… ").removesuffix(" …") in flat
