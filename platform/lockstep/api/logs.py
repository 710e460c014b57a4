"""How the server's log lines look, and what never stands in them."""

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from lockstep.actor import request_id
from lockstep.errors import InvalidSetting
from lockstep.settings import Settings

HIDDEN = "***"

_TIME = "%Y-%m-%dT%H:%M:%S"
# What to look for, where one of the words stands in the line at all: a password in any URL, an API
# key's secret, and the headers and settings that carry either.
_PATTERNS = (
    (("://",), re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), rf"\1{HIDDEN}@"),
    (("lsk_",), re.compile(r"(lsk_[0-9a-f]{12}_)[0-9a-f]+"), rf"\1{HIDDEN}"),
    (
        ("authorization", "api", "password"),
        re.compile(
            r"(?i)((?:authorization|api[-_]key|password)['\"]?\s*[:=]\s*(?:b(?=['\"]))?['\"]?)"
            r"(?:(bearer|basic)\s+)?[^\s'\",;)&]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
)
_SHORTEST_SECRET = 4  # what is shorter would be found in any word


class Redaction:
    """Takes out what is secret: the passwords and keys of the settings, and whatever looks so.

    The last line of defence: nothing writes a secret on purpose, but messages quote what failed.
    """

    def __init__(self, settings: Settings) -> None:
        secrets = {form for secret in _secrets_of(settings) for form in _forms_of(secret)}
        self._known = sorted(secrets, key=lambda secret: (-len(secret), secret))

    def __call__(self, text: str) -> str:
        for secret in self._known:  # the longest first: one may hold another
            text = text.replace(secret, HIDDEN)
        plain = text.lower()
        for words, pattern, instead in _PATTERNS:
            if any(word in plain for word in words):
                text = pattern.sub(instead, text)
        return text


class TextFormatter(logging.Formatter):
    """2026-01-31T12:00:00.000Z INFO lockstep.api.server: ready at http://127.0.0.1:7333"""

    default_time_format = _TIME
    default_msec_format = "%s.%03dZ"

    def __init__(self, redaction: Redaction) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.converter = time.gmtime
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        name = request_id.get()
        told = f" request_id={name}" if name and "request_id" not in _fields(record) else ""
        first, *more = super().format(record).split("\n")
        return self._redaction("\n".join([first + told, *more]))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id, and the event's fields."""

    default_time_format = _TIME
    default_msec_format = "%s.%03dZ"

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self.converter = time.gmtime
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        told = {key: value for key, value in line.items() if value is not None}
        return self._redaction(json.dumps(told, default=str))


def log_config(settings: Settings, *, access_log: bool) -> dict[str, Any]:
    """For `logging.config.dictConfig`: everything to stderr, audit lines to their file too."""
    redaction = Redaction(settings)
    kind = JsonFormatter if settings.log_format == "json" else TextFormatter
    config: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": lambda: kind(redaction)}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "lockstep": {"level": "INFO"},
            "lockstep.access": {"level": "INFO" if access_log else "WARNING"},
            "lockstep.audit": {"level": "INFO"},
            "uvicorn.access": {"level": "CRITICAL"},  # it would log query strings
        },
    }
    if handler := audit_handler(settings):
        config["handlers"]["audit"] = {"()": lambda: handler}
        config["loggers"]["lockstep.audit"]["handlers"] = ["audit"]
    return config


def audit_handler(settings: Settings) -> logging.Handler | None:
    """Adds audit lines to the file that the settings name, as JSON; None where they name none."""
    path = settings.resolved_audit_path()
    if path is None:
        return None
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise InvalidSetting(
            f"security.audit_path names {path}, which cannot be written: {error.strerror}.",
            next_step="Name a file that this user can write to, or leave it empty.",
        ) from error
    handler.setFormatter(JsonFormatter(Redaction(settings)))
    return handler


@contextmanager
def auditing(settings: Settings) -> Iterator[None]:
    """Add the audit lines of a command to the file that the settings name, until the block ends."""
    handler = audit_handler(settings)
    if handler is None:
        yield
        return
    logger = logging.getLogger("lockstep.audit")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = record.__dict__.get("fields", {})
    return fields


def _secrets_of(settings: Settings) -> Iterable[str]:
    for key in (settings.store_api_key, settings.chat_api_key):
        if key is not None:
            yield key.get_secret_value()
    for url in (settings.database_url, settings.store_url, settings.chat_url):
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):  # another part says what is wrong with it
            continue
        if parsed.password:
            yield str(parsed.password)
        given = parsed.query.get("password", ())
        yield from [given] if isinstance(given, str) else given


def _forms_of(secret: str) -> Iterable[str]:
    """As it is, and as URLs and quoted texts write it."""
    if len(secret) >= _SHORTEST_SECRET:
        yield from (secret, quote(secret, safe=""), quote_plus(secret))
        yield from (repr(secret)[1:-1], json.dumps(secret)[1:-1])
        yield json.dumps(repr(secret)[1:-1])[1:-1]
