"""What a request may say about fusion, and what it means."""

from typing import Any

import pytest

from lockstep.errors import InvalidInput
from lockstep.search.request import Fusion, FusionMethod, Weights

RRF, DBSF, CONVEX = FusionMethod.RRF, FusionMethod.DBSF, FusionMethod.CONVEX


@pytest.mark.parametrize(
    ("fusion", "weights"),
    [
        (Fusion(), Weights(0.8, 0.2)),
        (Fusion(dense_weight=0.5), Weights(0.5, 0.5)),
        (Fusion(lexical_weight=0), Weights(1, 0)),
        (Fusion(dense_weight=3, lexical_weight=1), Weights(3, 1)),
        (Fusion(DBSF), Weights(1, 1)),
        (Fusion(RRF, lexical_weight=3), Weights(1, 3)),
    ],
)
def test_each_method_has_its_weights(fusion: Fusion, weights: Weights) -> None:
    assert fusion.weights == weights


def test_k_is_60_unless_it_is_given() -> None:
    assert (Fusion(RRF).rrf_k, Fusion(RRF, 7).rrf_k) == (60, 7)


REFUSED = {
    "method": ({"method": "best"}, "fusion.method is 'best'; expected one of convex, dbsf, rrf"),
    "k too small": ({"method": RRF, "k": 0}, "fusion.k is 0; expected 1 to 10000"),
    "k too large": ({"method": RRF, "k": 10_001}, "fusion.k is 10001"),
    "k of dbsf": ({"method": DBSF, "k": 60}, "method is dbsf, which has no k"),
    "k of convex": ({"k": 60}, "method is convex, which has no k"),
    "negative": ({"dense_weight": -1}, "expected numbers from 0 to 1000"),
    "NaN": ({"lexical_weight": float("nan")}, "expected numbers from 0 to 1000"),
    "huge": ({"method": RRF, "dense_weight": 1_001}, "expected numbers from 0 to 1000"),
    "both 0": ({"dense_weight": 0, "lexical_weight": 0}, "both 0; expected one above 0"),
    "more than all": ({"dense_weight": 3}, "only one is given, 3"),
}


@pytest.mark.parametrize(("fields", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Fusion(**fields)
