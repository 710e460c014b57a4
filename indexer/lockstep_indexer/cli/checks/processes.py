"""The processes at work: who holds leases, and what each server answers from."""

import socket
import time
from collections.abc import Iterator, Mapping

from lockstep.bootstrap import Workspace
from lockstep.index.leases import HeldLease
from lockstep.index.rebuilding import reindex_command
from lockstep.index.replicas import SILENT_S, Replica
from lockstep.index.versions import State
from lockstep_indexer.cli.checks.check import Check, good, warn
from lockstep_indexer.cli.render import age, plural

# A server that has been silent for longer was stopped, or moved.
FORGOTTEN_S = 24 * 3600.0


def leases(workspace: Workspace) -> Iterator[Check]:
    """Held, run out, or left by a process that is gone."""
    held = workspace.leases.held()
    wrong = [check for lease in held if (check := _lease(workspace, lease))]
    yield from wrong
    alive = [lease for lease in held if not lease.is_over]
    if not wrong:
        who = ", ".join(f"{each.resource} by {_process(each)}" for each in alive)
        yield good("leases", f"held: {who}" if alive else "none held")


def _lease(workspace: Workspace, lease: HeldLease) -> Check | None:
    name = f"lease {lease.resource}"
    if lease.holder.is_dead():
        return warn(
            name,
            f"Left by {_process(lease)}, which is gone; the next process takes it over.",
            _resume(workspace, lease.resource),
        )
    if lease.expires_at > time.time():
        return None
    here = lease.holder.host == socket.gethostname()
    return warn(
        name,
        f"Ran out {age(lease.expires_at)}, unrenewed by {_process(lease)}: frozen, or cut off from "
        "the database.",
        f"Look at it and end it if it hangs: {'kill' if here else 'on its machine: kill'} "
        f"{lease.holder.pid}",
    )


def _resume(workspace: Workspace, resource: str) -> str:
    """What goes on with the work that a dead process left."""
    for corpus in workspace.corpora.names():
        for version in workspace.catalog.versions(corpus):
            if version.collection != resource:
                continue
            if version.state is State.BUILDING:
                return f"Go on: {reindex_command(version)}"
            return f"Nothing to do; see how it stands: lockstep status {corpus}"
    return "Nothing to do: it ends by itself."


def _process(lease: HeldLease) -> str:
    return f"process {lease.holder.pid} on {lease.holder.host}"


def replicas(workspace: Workspace, aliases: Mapping[str, str]) -> Iterator[Check]:
    """Servers that answer from something else than the live version, and silent ones."""
    for corpus in workspace.corpora.names():
        known = workspace.replicas.known(corpus)
        wrong = [check for each in known if (check := _replica(corpus, each, aliases.get(corpus)))]
        yield from wrong
        answering = len(workspace.replicas.serving(corpus))
        if answering and not wrong:
            yield good(
                f"servers {corpus}", f"{plural(answering, 'server')}, all on the live version"
            )


def _replica(corpus: str, replica: Replica, live: str | None) -> Check | None:
    name = f"servers {corpus}"
    where = f"{replica.url or 'a server'} ({replica.holder.host}, process {replica.holder.pid})"
    silent_s = time.time() - replica.seen_at
    if replica.holder.is_dead() or silent_s > FORGOTTEN_S:
        return None
    if silent_s > SILENT_S:
        return warn(
            name,
            f"{where} has not been heard of since {age(replica.seen_at)}.",
            "See whether it answers, and start it again: lockstep serve",
        )
    if live is not None and replica.collection != live:
        return warn(
            name,
            f"{where} answers from {replica.collection}; {live} is live.",
            f"See why: curl {replica.url or 'URL'}/readyz",
        )
    return None
