"""Who does something, and for which request: it follows a call through threads, not processes."""

import getpass
import os
from contextvars import ContextVar

# The name of the API key that a request came with; None where nobody had to show one.
key_name: ContextVar[str | None] = ContextVar("key_name", default=None)
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def actor() -> str:
    """The API key of the request at hand; elsewhere the user and the process."""
    name = key_name.get()
    if name is not None:
        return f"key {name}"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = str(os.getuid())
    return f"{user}, process {os.getpid()}"
