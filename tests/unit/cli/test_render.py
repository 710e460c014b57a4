"""Figures as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep_indexer.build.model_refs import name_for
from lockstep_indexer.cli.options import index_version
from lockstep_indexer.cli.render import duration, megabytes, plural, printable


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (999_999, "1.0 MB"), (1_500, "1.5 kB"), (2.5e9, "2.5 GB")],
)
def test_sizes(count: float, shown: str) -> None:
    assert megabytes(count) == shown


@given(st.integers(0, 10**12))
def test_a_size_never_has_four_digits_before_the_point(count: int) -> None:
    assert len(megabytes(count).partition(" ")[0].partition(".")[0]) <= 3


@given(st.text())
def test_what_is_printed_is_one_line_without_control_characters(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c <= "\udfff" for c in shown)


def test_plurals() -> None:
    assert [plural(n, "row") for n in (0, 1, 1000)] == ["0 rows", "1 row", "1,000 rows"]


@pytest.mark.parametrize("text", ["3", "v3", "v0003", "docs--v0003", " 3 "])
def test_index_versions_are_read_as_people_write_them(text: str) -> None:
    assert index_version(text) == 3


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models/My Model", "my-model"),
        ("org/All-MiniLM-L6-v2@main", "all-minilm-l6-v2"),
        ("./é", "model"),
        ("a/_x_", "x"),
    ],
)
def test_a_path_gives_a_model_name(path: str, name: str) -> None:
    assert name_for(path) == name
