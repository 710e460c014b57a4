"""Who asks: the API key that a request shows, before anything else of it is looked at.

`Authentication` stands before every route and refuses before a body is read. A path that it does
not know as open needs a key.
"""

import ipaddress
import math
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from lockstep.actor import key_name
from lockstep.api.caller import Caller
from lockstep.api.key_ring import KeyRing
from lockstep.api.problems import ProblemResponse, problem_of, respond
from lockstep.api.rate_limit import RateLimits
from lockstep.corpus.api_key import PREFIX, ApiKey
from lockstep.corpus.documents import shown
from lockstep.errors import (
    AccessDenied,
    DatabaseUnavailable,
    InvalidSetting,
    KeyRequired,
    LockstepError,
    RateLimited,
)
from lockstep.settings import SecuritySettings, Settings

# Answered without a key, to whoever asks; the details of /readyz are not.
OPEN_PATHS = frozenset(
    {"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
)

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="lockstep"'}


class Authentication:
    """Middleware that finds out who asks, and answers 401 or 429 where that ends it.

    `ring` gives the keys once the app has started.
    """

    def __init__(
        self,
        app: ASGIApp,
        ring: Callable[[Scope], KeyRing],
        limits: RateLimits,
        security: SecuritySettings,
        host: str,
    ) -> None:
        self._app = app
        self._ring = ring
        self._security = security
        self._host = host
        self._loopback = is_loopback(host)
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                caller = self._caller(scope)
            except LockstepError as error:
                await _refusal(error)(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
            key_name.set(caller.key.name if caller.key else None)
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller:
        ring, presented = self._ring(scope), _presented(scope)
        required = keys_are_required(self._security, self._loopback, ring)
        if scope["path"] == "/metrics" and self._security.open_metrics:
            return Caller(None, trusted=True)
        if scope["path"] in OPEN_PATHS:
            with suppress(DatabaseUnavailable):  # is the process up? is no question of keys
                return Caller(ring.find(presented) if presented else None, trusted=not required)
            return Caller(None)
        if presented is None and not required:
            _refuse_other_names(scope, self._host, self._security.trusted_hosts)
            _refuse_other_sites(scope, self._security.cors_origins)
            return Caller(None, trusted=True)
        key = ring.find(presented) if presented else None
        if key is None:
            raise KeyRequired(
                "This needs an API key, and none that is known was sent.",
                next_step="Send one as 'Authorization: Bearer lsk_...' or 'X-Api-Key: lsk_...'.",
            )
        if (wait_s := self._limits.wait_s(key)) > 0:
            scope.setdefault("state", {})["caller"] = Caller(key)  # so that its line says whose
            raise _limited(key, wait_s)
        return Caller(key)


def is_loopback(host: str) -> bool:
    """Whether a server at this host is reached from this machine alone; names prove nothing."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_own_name(host_header: str, host: str, trusted: tuple[str, ...]) -> bool:
    """Whether a Host header names a server that listens at `host`, or is known by `trusted` names.

    An address always does: only a name can be made to lead somewhere else.
    """
    if host_header.startswith("["):
        name = host_header[1:].partition("]")[0]
    else:
        name = host_header.partition(":")[0].lower()
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return name in {"localhost", host.lower(), *(one.lower() for one in trusted)}


def keys_are_required(security: SecuritySettings, loopback: bool, ring: KeyRing) -> bool:
    if security.require_key == "auto":
        return not loopback or ring.any_ever
    return security.require_key


def require_safe(settings: Settings, ring: KeyRing) -> None:
    """Raise InvalidSetting where others could reach a server for which no key was ever made."""
    unguarded = settings.security.require_key == "auto" and not ring.any_in_use
    if unguarded and not is_loopback(settings.host):
        raise InvalidSetting(
            f"Host '{settings.host}' can be reached from other machines, and there is no API key.",
            next_step="Make one: lockstep key create NAME --scope search. Or say what is meant, "
            "under [security] in lockstep.toml: require_key = true starts and refuses everybody "
            "until there is one, false lets everybody in.",
        )


def _presented(scope: Scope) -> str | None:
    """The API key that a request shows; one that cannot be where it shows two different ones.

    What else stands in Authorization is for somebody else, a proxy for one.
    """
    found = set()
    for name, value in scope["headers"]:
        if name in (b"x-api-key", b"authorization"):
            credentials = value.decode("latin-1").strip().rpartition(" ")[2]
            if name == b"x-api-key" or credentials.startswith(PREFIX):
                found.add(credentials)
    return f"{PREFIX}several" if len(found) > 1 else next(iter(found), None)


def _refuse_other_names(scope: Scope, host: str, trusted: tuple[str, ...]) -> None:
    """A web site can let its own name lead to this machine (DNS rebinding); to a browser its pages
    and the server are then of one origin. The name that they ask for gives them away.
    """
    asked_for = _header(scope, b"host")
    if not is_own_name(asked_for, host, trusted):
        raise AccessDenied(
            f"The request is for host '{shown(asked_for)}'; a server that asks for no key answers "
            "to localhost, addresses, and names that it is told.",
            next_step="If that is its name, add it in lockstep.toml: [security] trusted_hosts, "
            "without the port. Or make a key: lockstep key create NAME --scope search.",
        )


def _header(scope: Scope, name: bytes) -> str:
    value: bytes = dict(scope["headers"]).get(name, b"")
    return value.decode("latin-1")


def _refuse_other_sites(scope: Scope, allowed: tuple[str, ...]) -> None:
    """Where nobody shows a key, a page of any web site could have its reader's browser ask."""
    origin = _header(scope, b"origin")
    same = origin.partition("://")[2] == _header(scope, b"host")
    if origin and not same and origin not in allowed:
        raise AccessDenied(
            f"A web page of '{shown(origin)}' asks, which may not.",
            next_step="If it shall, name it in lockstep.toml: [security] cors_origins.",
        )


def _limited(key: ApiKey, wait_s: float) -> RateLimited:
    error = RateLimited(
        f"Key '{key.name}' has sent as many requests as it may for now.",
        next_step=f"Try again in {max(1, math.ceil(wait_s))} s.",
    )
    error.retry_after_s = max(1, math.ceil(wait_s))
    return error


def _refusal(error: LockstepError) -> ProblemResponse:
    problem = problem_of(error)
    if isinstance(error, KeyRequired):
        return ProblemResponse(problem, _CHALLENGE)
    if isinstance(error, RateLimited):
        return ProblemResponse(problem, {"Retry-After": str(error.retry_after_s)})
    return respond(problem)
