"""Functions of payload fields, as formulas of the embedded engine."""

from collections.abc import Sequence

import qdrant_edge as engine

from lockstep.store.edge_filter import edge_filter
from lockstep.store.payload_functions import LEAST_TIME, Decay, PayloadFunction

_Expression = engine.Expression
_ZERO = _Expression.Constant(0.0)


def formula_request(function: PayloadFunction, ids: Sequence[str]) -> engine.QueryRequest:
    """Scores the points by the function, those apart that it cannot be computed of."""
    of_these = engine.HasIdCondition(set(ids))
    computable = edge_filter(function.condition)
    matching = engine.Filter(must=[of_these, *([computable] if computable else [])])
    return engine.QueryRequest(
        limit=len(ids),
        query=_formula(function),
        prefetches=[engine.Prefetch(limit=len(ids), filter=matching)],
        with_payload=False,
        with_vector=False,
    )


def _formula(function: PayloadFunction) -> engine.Formula:
    # The defaults are never used, as long as the filter is right.
    if isinstance(function, Decay):
        then = _Expression.DatetimeKey(function.field)
        passed = _Expression.Sum([_Expression.Constant(function.now_s), _Expression.Neg(then)])
        age = _Expression.Max([passed, _ZERO])
        decay = _Expression.Decay(engine.DecayKind.Exp, age, _ZERO, 0.5, function.half_life_s)
        return engine.Formula(decay, {function.field: LEAST_TIME})
    number = _Expression.Max([_Expression.Variable(function.field), _ZERO])
    whole = _Expression.Sum([number, _Expression.Constant(function.midpoint)])
    return engine.Formula(_Expression.Div(number, whole, 0.0), {function.field: 0.0})
