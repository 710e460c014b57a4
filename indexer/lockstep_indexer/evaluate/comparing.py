"""Models against the first one: paired by query, and corrected for how often that is asked."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lockstep.gates.statistics import paired
from lockstep_indexer.evaluate.measures import Measure
from lockstep_indexer.evaluate.results import Comparison, ModelResult
from lockstep_indexer.evaluate.ways import Way

# Figures that differ by less come of the same ranks.
SAME = 1e-9


def compared(models: Sequence[ModelResult], measure: Measure) -> list[Comparison]:
    """Each model but the first, in every way that both were asked, p values corrected by Holm."""
    base, *others = models
    found = [
        _compared(base, other, way, measure)
        for other in others
        for way, result in other.results.items()
        if way in base.results
        and measure in result.figures
        and measure in base.results[way].figures
    ]
    adjusted = holm([each.paired.p_value for each in found])
    return [replace(each, adjusted_p=p) for each, p in zip(found, adjusted, strict=True)]


def _compared(base: ModelResult, other: ModelResult, way: Way, measure: Measure) -> Comparison:
    one, before = other.results[way].figures[measure], base.results[way].figures[measure]
    gains = one - before
    wins, losses = int((gains > SAME).sum()), int((gains < -SAME).sum())
    test = paired(one, before)
    return Comparison(
        model=other.ref,
        base=base.ref,
        way=way,
        paired=test,
        adjusted_p=test.p_value,
        gains=gains,
        wins=wins,
        losses=losses,
        ties=len(gains) - wins - losses,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of a family of tests, so that one false alarm in all of it is as rare as said.

    Source: Holm, Scandinavian Journal of Statistics, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * factors)
    return [float(p) for p in np.minimum(adjusted, 1.0)]
