"""What a call can end in.

LockstepError
├── ApiError               the server answered with problem details
│   ├── AccessRefused      401, 403: the API key does not reach this far
│   ├── Missing            404
│   ├── Conflicting        409: it would be fine in another state
│   ├── RequestInvalid     413, 415, 422
│   └── ServerBusy         429, 503: retried as often as allowed
├── UnexpectedAnswer       what answered is no Lockstep server
└── ServerUnreachable      no answer came

Those named for a situation are also the errors of `lockstep.errors` that mean the same, so that
code which catches NotFound or Unavailable need not know whether it speaks to a server.
"""

from typing import Self

from lockstep.client.answers import Problem
from lockstep.errors import (
    AccessDenied,
    Conflict,
    InvalidInput,
    LockstepError,
    NotFound,
    Unavailable,
)


class ApiError(LockstepError):
    """The server answered with problem details."""

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail or problem.title, next_step=problem.next_step or "")
        self.problem = problem
        self.retry_after_s = retry_after_s

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def title(self) -> str:
        return self.problem.title

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def request_id(self) -> str | None:
        return self.problem.request_id

    def __reduce__(self) -> tuple[type[Self], tuple[Problem, float | None]]:
        return type(self), (self.problem, self.retry_after_s)


class AccessRefused(ApiError, AccessDenied):
    """The API key is missing or unknown, or does not reach this far."""


class Missing(ApiError, NotFound):
    """A name that names nothing on this server."""


class Conflicting(ApiError, Conflict):
    """It would be fine at another time, or in another state."""


class RequestInvalid(ApiError, InvalidInput):
    """What was sent cannot be used as it is."""


class ServerBusy(ApiError, Unavailable):
    """The server cannot answer now; `retry_after_s` is what it asks for."""


class UnexpectedAnswer(LockstepError):
    """What answered is no Lockstep server, or one that this client does not understand."""


class ServerUnreachable(Unavailable):
    """No answer came; `maybe_taken`: the server may have done what was asked all the same."""

    maybe_taken: bool = True


_BY_STATUS: dict[int, type[ApiError]] = {
    401: AccessRefused,
    403: AccessRefused,
    404: Missing,
    409: Conflicting,
    413: RequestInvalid,
    415: RequestInvalid,
    422: RequestInvalid,
    429: ServerBusy,
    503: ServerBusy,
}


def api_error(problem: Problem, retry_after_s: float | None) -> ApiError:
    return _BY_STATUS.get(problem.status, ApiError)(problem, retry_after_s)
