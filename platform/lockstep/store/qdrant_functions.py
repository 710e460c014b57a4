"""Functions of payload fields, as formulas of a Qdrant server."""

from collections.abc import Sequence

from qdrant_client import models

from lockstep.store.payload_functions import LEAST_TIME, Decay, PayloadFunction


def formula_request(function: PayloadFunction, ids: Sequence[str]) -> models.QueryRequest:
    """Scores the points by the function, those apart that it cannot be computed of."""
    computable = models.Filter.model_validate(function.condition)
    matching = models.Filter(must=[models.HasIdCondition(has_id=list(ids)), computable])
    return models.QueryRequest(
        query=_formula(function),
        prefetch=models.Prefetch(filter=matching, limit=len(ids)),
        limit=len(ids),
        with_payload=False,
    )


def _formula(function: PayloadFunction) -> models.FormulaQuery:
    # The defaults matter where a point changes while the server computes.
    if isinstance(function, Decay):
        then = models.DatetimeKeyExpression(datetime_key=function.field)
        passed = models.SumExpression(sum=[function.now_s, models.NegExpression(neg=then)])
        decay = models.DecayParamsExpression(
            x=models.MaxExpression(max=[passed, 0.0]),
            target=0.0,
            midpoint=0.5,
            scale=function.half_life_s,
        )
        return models.FormulaQuery(
            formula=models.ExpDecayExpression(exp_decay=decay),
            defaults={function.field: LEAST_TIME},
        )
    number = models.MaxExpression(max=[function.field, 0.0])
    whole = models.SumExpression(sum=[number, function.midpoint])
    share = models.DivParams(left=number, right=whole, by_zero_default=0.0)
    return models.FormulaQuery(
        formula=models.DivExpression(div=share), defaults={function.field: 0.0}
    )
