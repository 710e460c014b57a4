"""Leases: at most one process at a time applies changes to an index version.

A lease ends when its holder lets go, when its time runs out unrenewed, or at once when the holder
was a process of this machine that no longer runs. Each change of holder raises the token, and a
checkpoint succeeds only under the current token, so a holder that was frozen past its lease cannot
move the version's `applied_seq` afterwards.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache

import psutil
from sqlalchemy import Connection, delete, insert, select, update

from lockstep.corpus.database import Database
from lockstep.corpus.schema import leases
from lockstep.errors import LeaseHeld, LeaseLost, Unavailable

logger = logging.getLogger(__name__)

TTL_S = 60.0


@dataclass(frozen=True)
class Holder:
    """A process, told apart from a later one with the same number by when it started."""

    host: str
    pid: int
    started: float

    def is_dead(self) -> bool:
        """True only where this can be known: the process ran on this machine and is gone."""
        if self.host != socket.gethostname():
            return False
        try:
            started: float = psutil.Process(self.pid).create_time()
            return abs(started - self.started) > 1.0
        except psutil.NoSuchProcess:
            return True

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Holder":
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Lease:
    resource: str
    token: int


@dataclass(frozen=True)
class HeldLease:
    """A lease as the database has it; it may have run out, and its holder may be gone."""

    resource: str
    holder: Holder
    expires_at: float  # seconds since 1970

    @property
    def is_over(self) -> bool:
        """Whether the next process that asks for it gets it."""
        return self.expires_at <= time.time() or self.holder.is_dead()


class Leases:
    """The leases of one database."""

    def __init__(self, database: Database, *, ttl_s: float = TTL_S) -> None:
        self._database = database
        self._ttl_s = ttl_s
        self._left: set[Lease] = set()  # over, but the database could not be told

    @contextmanager
    def hold(self, resource: str) -> Iterator[Lease]:
        """Take a lease and renew it in the background until the block ends.

        Raises LeaseHeld, naming the process that has it.
        """
        lease = self._take(resource)
        stop = threading.Event()
        renewer = threading.Thread(
            target=self._renew_until, args=(lease, stop), name=f"lease {resource}", daemon=True
        )
        renewer.start()
        try:
            yield lease
        finally:
            stop.set()
            renewer.join()
            self._release(lease)

    def _take(self, resource: str) -> Lease:
        me = this_process().to_text()
        now = time.time()
        with self._database.writing() as connection:
            row = connection.execute(
                select(leases).where(leases.c.resource == resource).with_for_update()
            ).one_or_none()
            if row is None:
                token = 1
                connection.execute(
                    insert(leases).values(
                        resource=resource, holder=me, token=token, expires_at=now + self._ttl_s
                    )
                )
                return Lease(resource, token)
            holder = Holder.from_text(row.holder) if row.holder else None
            ours = Lease(resource, row.token) in self._left
            if holder and row.expires_at > now and not ours and not holder.is_dead():
                raise LeaseHeld(
                    f"'{resource}' is being worked on by process {holder.pid} on {holder.host}.",
                    next_step="Wait for it to finish, or stop that process and run this again.",
                )
            connection.execute(
                update(leases)
                .where(leases.c.resource == resource)
                .values(holder=me, token=row.token + 1, expires_at=now + self._ttl_s)
            )
            self._left.discard(Lease(resource, row.token))
            return Lease(resource, row.token + 1)

    def _renew_until(self, lease: Lease, stop: threading.Event) -> None:
        while not stop.wait(self._ttl_s / 3):
            try:
                with self._database.writing() as connection:
                    connection.execute(
                        update(leases)
                        .where(leases.c.resource == lease.resource, leases.c.token == lease.token)
                        .values(expires_at=time.time() + self._ttl_s)
                    )
            except Unavailable:
                continue  # the next turn may reach it; the checkpoint's token check guards us

    def _release(self, lease: Lease) -> None:
        try:
            with self._database.writing() as connection:
                connection.execute(
                    update(leases)
                    .where(leases.c.resource == lease.resource, leases.c.token == lease.token)
                    .values(holder="", expires_at=0.0)
                )
        except Unavailable as error:
            # What was done under the lease stands. Others wait for its time to run out; we do not.
            logger.warning("the lease on '%s' could not be given back: %s", lease.resource, error)
            self._left.add(lease)

    def held(self) -> list[HeldLease]:
        """Every lease that nobody has let go of."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(leases).where(leases.c.holder != "").order_by(leases.c.resource)
            ).all()
        return [HeldLease(r.resource, Holder.from_text(r.holder), r.expires_at) for r in rows]

    def forget(self, resource: str) -> None:
        """Remove what is left of the leases on something that no longer exists."""
        with self._database.writing() as connection:
            connection.execute(delete(leases).where(leases.c.resource == resource))


def require(connection: Connection, lease: Lease) -> None:
    """Check, inside a transaction, that the lease is still ours; raises LeaseLost."""
    token = connection.execute(
        select(leases.c.token).where(leases.c.resource == lease.resource).with_for_update()
    ).scalar_one_or_none()
    if token != lease.token:
        raise LeaseLost(
            f"The lease on '{lease.resource}' went to another process (token {token}, "
            f"ours is {lease.token}).",
            next_step="Nothing is lost: the other process goes on from the last checkpoint.",
        )


@cache
def this_process() -> Holder:
    """This process, as others know it."""
    pid = os.getpid()
    return Holder(socket.gethostname(), pid, psutil.Process(pid).create_time())
