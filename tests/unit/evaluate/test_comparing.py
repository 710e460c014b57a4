"""Comparisons: corrected p values, the guard's verdicts, and gains to doubt."""

import numpy as np
import pytest

from lockstep.gates.statistics import Values, paired
from lockstep.index.gate_report import Verdict
from lockstep_indexer.evaluate.comparing import holm
from lockstep_indexer.evaluate.guarding import verdict
from lockstep_indexer.evaluate.judging import FlagKind, gain_flag, pairs_to_read

BASE = np.random.default_rng(3).uniform(0.2, 0.8, 200)


def shifted(by: float) -> Values:
    """The base with another mean, and some noise that has none."""
    values: Values = BASE + by + np.tile([0.02, -0.02], 100)
    return values


def test_holm_is_what_r_gives() -> None:
    """p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")"""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (0.0, Verdict.PASSED),
        (-0.1, Verdict.PASSED),
        (0.05, Verdict.FAILED),
        (0.01, Verdict.FLAGGED),
    ],
)
def test_the_guard_fails_only_what_is_proven(lost: float, expected: Verdict) -> None:
    found, detail = verdict(paired(shifted(-lost), BASE), 0.01)
    assert found is expected
    assert detail


def test_the_guard_does_not_trust_a_handful_of_queries() -> None:
    for change in (0.001, -0.3):
        found, detail = verdict(paired(BASE[:10] + change, BASE[:10]), 0.01)
        assert found is Verdict.FLAGGED
        assert "at least 20 queries" in detail


@pytest.mark.parametrize(
    ("base", "tuned", "expected"),
    [
        (0.40, 0.61, FlagKind.TOO_GOOD),
        (0.40, 0.59, None),
        (0.70, 0.72, FlagKind.TOO_SMALL),
        (0.70, 0.74, None),
        (0.70, 0.60, None),
        (0.01, 0.02, FlagKind.TOO_SMALL),
        (0.0, 0.3, FlagKind.TOO_GOOD),
    ],
)
def test_gains_too_good_and_too_small_are_flagged(
    base: float, tuned: float, expected: FlagKind | None
) -> None:
    flag = gain_flag(base, tuned)
    assert (flag and flag.kind) == expected


def test_a_small_gain_over_a_good_base_is_not_put_on_the_pairs_alone() -> None:
    good, poor = gain_flag(0.99, 0.991), gain_flag(0.40, 0.41)
    assert good is not None
    assert poor is not None
    assert "The base had 0.990 already" in good.what
    assert "already" not in poor.what


def test_the_pairs_to_read_are_the_same_ones_each_time() -> None:
    pairs = [(f"q{n}", f"p{n}") for n in range(200)]
    assert pairs_to_read(pairs) == pairs_to_read(pairs)
    assert len(set(pairs_to_read(pairs))) == 50
    assert pairs_to_read(pairs[:3], count=50) != []
