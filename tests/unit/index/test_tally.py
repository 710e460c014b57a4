"""Comparing streams by sums of hashes: order does not matter, everything else does."""

from hypothesis import given
from hypothesis import strategies as st

from lockstep.index.tally import Tally, bucket

Items = dict[str, str]
items = st.dictionaries(st.text(max_size=6), st.text(max_size=4), max_size=30)


def tally(pairs: Items, *, reverse: bool = False) -> Tally:
    result = Tally()
    for key in sorted(pairs, reverse=reverse):
        result.add(key, pairs[key])
    return result


@given(items)
def test_order_does_not_matter(pairs: Items) -> None:
    assert not tally(pairs).differing(tally(pairs, reverse=True))


@given(items, items)
def test_the_buckets_name_what_differs(mine: Items, theirs: Items) -> None:
    differing = {key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)}
    assert tally(mine).differing(tally(theirs)) == {bucket(key) for key in differing}


def test_counting_an_item_twice_is_a_difference() -> None:
    once, twice = tally({"a": "1"}), tally({"a": "1"})
    twice.add("a", "1")
    assert once.differing(twice)


def test_parts_do_not_run_together() -> None:
    one, two = Tally(), Tally()
    one.add("a", "bc", "d")
    two.add("a", "b", "cd")
    assert one.differing(two)
