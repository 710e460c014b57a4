"""Functions of a payload: decays and saturations of metadata of every kind."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from points import DIM, SHORT, make_points, point_id
from qdrant_stand_in import StandIn
from vector_stores import ENGINES, fresh_name, open_store

from lockstep.errors import InvalidInput
from lockstep.store.payload_functions import Decay, PayloadFunction, Saturation
from lockstep.store.payload_indexes import PayloadType
from lockstep.store.port import CollectionSchema, Json, VectorStore

NOW = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0
# A metadata field's value, and the shares of Decay(30 days) and Saturation(10); None: left out.
VALUES: list[tuple[object, float | None, float | None]] = [
    ("2026-01-02T00:00:00Z", 0.5, None),
    ("2026-01-02", 0.5, None),
    ("2026-01-02T02:00:00+02:00", 0.5, None),
    (["2026-01-02"], 0.5, None),
    ("2025-12-03 00:00:00", 0.25, None),
    ("2099-01-01", 1.0, None),
    ("0001-01-01", 0.0, None),
    ("9999-12-31T23:59:59Z", 1.0, None),
    (["2026-01-02", "2026-01-03"], None, None),
    ("2026-13-01", None, None),
    ("soon", None, None),
    ("", None, None),
    (10, None, 0.5),
    (10.0, None, 0.5),
    ([30], None, 0.75),
    (0, None, 0.0),
    (-10, None, 0.0),
    (-1e308, None, 0.0),
    (1e308, None, 1.0),
    (5e-324, None, 0.0),
    (2**63 - 1, None, 1.0),
    (2**64 - 1, None, 1.0),
    ([1, 2], None, None),
    ([1, "x"], None, None),
    ([[1]], None, None),
    ("10", None, None),
    (True, None, None),
    (None, None, None),
    ([], None, None),
    ({"a": 1}, None, None),
]


@pytest.fixture(scope="module", params=ENGINES)
def valued(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn
) -> Iterator[tuple[VectorStore, str]]:
    """Point n holds VALUES[n], in a field without an index and in indexed ones."""
    store = open_store(request.param, tmp_path_factory.mktemp("valued"), stand_in)
    name = fresh_name()
    indexes: dict[str, PayloadType] = {"m.when": "datetime", "m.count": "float"}
    store.create(name, CollectionSchema(DIM, SHORT, payload_indexes=indexes), {})
    payloads: list[Json] = [
        {"m": dict.fromkeys(("plain", "when", "count"), value)} for value, *_ in VALUES
    ]
    payloads.append({})
    store.upsert(name, make_points(range(len(payloads)), payloads))
    yield store, name
    store.drop(name)
    store.close()


class TestFunctions:
    @pytest.mark.parametrize("field", ["m.plain", "m.when"])
    def test_a_decay_halves_with_age(self, valued: tuple[VectorStore, str], field: str) -> None:
        store, name = valued
        self._agree(store, name, Decay(field, 30 * DAY, NOW), [decay for _, decay, _ in VALUES])

    @pytest.mark.parametrize("field", ["m.plain", "m.count"])
    def test_a_saturation_is_half_at_its_midpoint(
        self, valued: tuple[VectorStore, str], field: str
    ) -> None:
        store, name = valued
        self._agree(store, name, Saturation(field, 10.0), [share for *_, share in VALUES])

    def test_several_are_evaluated_at_once_and_the_same_each_time(
        self, valued: tuple[VectorStore, str]
    ) -> None:
        store, name = valued
        functions: list[PayloadFunction] = [
            Saturation("m.plain", 10.0),
            Decay("m.plain", DAY, NOW),
            Decay("m.x", 1.0, 0.0),
        ]
        ids = [point_id(number) for number in range(len(VALUES) + 1)]
        first = store.evaluate(name, ids, functions)
        assert [bool(each) for each in first] == [True, True, False]
        assert all(store.evaluate(name, ids[::-1], functions) == first for _ in range(5))
        assert store.evaluate(name, [], functions) == [{}, {}, {}]
        assert store.evaluate(name, ids, []) == []
        assert store.evaluate(name, ids[:1], functions)[1].keys() == {ids[0]}

    def test_the_longest_and_the_shortest_half_life_are_computed(
        self, valued: tuple[VectorStore, str]
    ) -> None:
        store, name = valued
        shortest, longest = store.evaluate(
            name, [point_id(0)], [Decay("m.plain", 60.0, NOW), Decay("m.plain", 1e10, NOW)]
        )
        assert shortest == {point_id(0): 0.0}
        assert longest[point_id(0)] == pytest.approx(0.99982, abs=1e-5)

    def test_an_id_is_a_uuid(self, valued: tuple[VectorStore, str]) -> None:
        store, name = valued
        with pytest.raises(InvalidInput, match="'one' is not a UUID"):
            store.evaluate(name, ["one"], [Saturation("m.plain", 1.0)])

    def _agree(
        self,
        store: VectorStore,
        name: str,
        function: PayloadFunction,
        expected: list[float | None],
    ) -> None:
        ids = [point_id(number) for number in range(len(VALUES) + 1)]
        [found] = store.evaluate(name, [*ids, point_id(999)], [function])
        for (value, *_), each, share in zip(VALUES, ids, expected, strict=False):
            assert found.get(each) == pytest.approx(share, abs=1e-6), value
        assert ids[-1] not in found
