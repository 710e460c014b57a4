"""The audit trail: one log line for each thing done by somebody who may change what is served.

Written to the logger `lockstep.audit` where it happens, so that a command and a request leave the
same line. The database keeps the same of rollouts and keys, for as long as it lives.
"""

import logging

from lockstep.actor import actor, request_id

logger = logging.getLogger("lockstep.audit")


def audit(action: str, outcome: str, *, corpus: str | None = None, target: object = None) -> None:
    """Write that something was done, or was tried: `outcome` is done, failed, started or denied."""
    fields = {
        "action": action,
        "outcome": outcome,
        "actor": actor(),
        "corpus": corpus,
        "target": None if target is None else str(target),
        "request_id": request_id.get(),
    }
    said = {name: value for name, value in fields.items() if value is not None}
    line = " ".join(f"{name}={value!r}" for name, value in said.items())
    logger.info("%s", line, extra={"fields": said})
