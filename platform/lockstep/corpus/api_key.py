"""API keys: what each one may do, and how a server knows it without keeping it.

A key is `lsk_<id>_<secret>`. The id finds its row; of the whole key only SHA-256 is kept. A slow
hash, as passwords need it, would protect nothing here: the secret is 256 random bits, which nobody
tries out, and it would cost every request what it costs an attacker.
"""

import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lockstep.actor import actor
from lockstep.corpus.change_log import check_name
from lockstep.errors import InvalidInput

Json = dict[str, Any]

MAX_CORPORA = 1_000
MAX_RATE_PER_S = 1e6

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_KEY = re.compile(r"lsk_([0-9a-f]{12})_[0-9a-f]{64}")
PREFIX = "lsk_"
LOCAL = "local"  # the name of the key that a server makes for commands beside it


class Scope(StrEnum):
    """What a key may be used for."""

    SEARCH = "search"  # search, read documents, say what was chosen, look at corpora and versions
    WRITE = "write"  # write and delete documents
    METRICS = "metrics"  # read /metrics and the details of /readyz
    ADMIN = "admin"  # promote, roll back, run trials, read the history; all of the others too


@dataclass(frozen=True)
class ApiKey:
    """One key. Raises InvalidInput where its parts do not go together.

    A key with a filter is confined to the documents that match it. It can only search: whoever
    writes or promotes changes what others see, which no filter on documents can hold back.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    secret_hash: str = field(repr=False)
    corpora: frozenset[str] | None = None  # None: all of them
    filter: Json | None = None  # over metadata; None: every document
    rate_per_s: float | None = None  # None: as in the settings; 0: no limit
    created_at: float = field(default_factory=time.time)  # seconds since 1970
    created_by: str = field(default_factory=actor)
    revoked_at: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"'{self.name[:80]}' cannot be the name of a key; expected up to 63 of a-z, 0-9, - "
                "and _, starting with a letter or a digit."
            )
        if not self.scopes:
            raise InvalidInput(
                f"Key '{self.name}' has no scope; expected at least one of {', '.join(Scope)}."
            )
        if self.filter is not None and self.scopes != {Scope.SEARCH}:
            raise InvalidInput(
                f"Key '{self.name}' has a filter and the scopes {listed(self.scopes)}; a key with "
                "a filter can have the scope search alone."
            )
        if Scope.METRICS in self.scopes and self.corpora is not None:
            raise InvalidInput(
                f"Key '{self.name}' has the scope metrics and is confined to some corpora; the "
                "metrics name them all."
            )
        _check_corpora(self.name, self.corpora)
        rate = self.rate_per_s
        if rate is not None and not (math.isfinite(rate) and 0 <= rate <= MAX_RATE_PER_S):
            raise InvalidInput(
                f"Key '{self.name}' has a rate of {rate}; expected 0 (no limit) to "
                f"{MAX_RATE_PER_S:,.0f} requests a second."
            )

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope; admin has every one."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def reaches(self, corpus: str) -> bool:
        return self.corpora is None or corpus in self.corpora

    def is_opened_by(self, presented: str) -> bool:
        """Whether this is the key that somebody presents; takes as long for any wrong one."""
        return hmac.compare_digest(self.secret_hash, hash_of(presented))


def new_key(
    name: str,
    scopes: Iterable[Scope],
    *,
    corpora: Collection[str] | None = None,
    filter: Json | None = None,
    rate_per_s: float | None = None,
) -> tuple[ApiKey, str]:
    """A key that is kept nowhere yet, and the text that opens it."""
    key_id = secrets.token_hex(6)
    presented = f"{PREFIX}{key_id}_{secrets.token_hex(32)}"
    key = ApiKey(
        id=key_id,
        name=name,
        scopes=frozenset(scopes),
        secret_hash=hash_of(presented),
        corpora=None if corpora is None else frozenset(corpora),
        filter=filter,
        rate_per_s=rate_per_s,
    )
    return key, presented


def id_in(presented: str) -> str | None:
    """The id of the key that somebody presents; None where it is none of ours."""
    found = _KEY.fullmatch(presented)
    return found and found[1]


def hash_of(presented: str) -> str:
    return hashlib.sha256(presented.encode()).hexdigest()


def listed(scopes: Iterable[Scope]) -> str:
    return ", ".join(scope for scope in Scope if scope in set(scopes))


def _check_corpora(name: str, corpora: frozenset[str] | None) -> None:
    if corpora is None:
        return
    if not 1 <= len(corpora) <= MAX_CORPORA:
        raise InvalidInput(
            f"Key '{name}' is confined to {len(corpora):,} corpora; expected 1 to {MAX_CORPORA:,}."
        )
    for corpus in sorted(corpora):
        check_name(corpus)
