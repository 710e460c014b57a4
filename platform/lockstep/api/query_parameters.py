"""Query parameters that mean nothing are refused, as fields of a body are."""

from difflib import get_close_matches

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params

from lockstep.corpus.documents import shown
from lockstep.errors import InvalidInput


async def known_query_parameters(request: Request) -> None:
    """Raise InvalidInput for a query parameter that the route does not have."""
    given = set(request.query_params)
    if not given:
        return
    fields = get_flat_params(request.scope["route"].dependant)
    known = [field.alias for field in fields if isinstance(field.field_info, params.Query)]
    if unknown := sorted(given.difference(known)):
        near = get_close_matches(shown(unknown[0]), known, n=1)
        raise InvalidInput(
            f"Unknown query parameter {shown(unknown[0])!a}; expected "
            + (f"some of {', '.join(known)}." if known else "none."),
            next_step=f"Did you mean '{near[0]}'?" if near else "Leave it out.",
        )
