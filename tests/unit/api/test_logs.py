"""What stands in log lines, and what never does."""

import json
import logging
import logging.config
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lockstep.actor import request_id
from lockstep.api.logs import JsonFormatter, Redaction, TextFormatter, audit_handler, log_config
from lockstep.audit import audit
from lockstep.corpus.database import Database
from lockstep.errors import InvalidSetting
from lockstep.settings import SecuritySettings, Settings, load_settings

PASSWORD = "pa55/w@rd%1"
QUOTED = "pa55%2Fw%40rd%251"
API_KEY = "lsk_0123456789ab_" + "c" * 64
STORE_KEY = "store-key-9"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        root=tmp_path,
        database_url=f"postgresql://me:{QUOTED}@db.invalid/lockstep?password=other-pass",
        store_url=f"http://me:{QUOTED}@qdrant.invalid:6333",
        store_api_key=SecretStr(STORE_KEY),
    )


def _line(formatter: logging.Formatter, message: str, **fields: Any) -> str:
    record = logging.LogRecord("lockstep.x", logging.INFO, "", 0, "%s", (message,), None)
    if fields:
        record.__dict__["fields"] = fields
    return formatter.format(record)


SAID = {
    "url": f"cannot reach postgresql://me:{QUOTED}@db.invalid/lockstep",
    "another url": "cannot reach https://you:hunter22@elsewhere.example/",
    "plain": f"password is {PASSWORD}, quoted {QUOTED}",
    "repr": f"tried {PASSWORD!r}",
    "in the query": "postgresql://db.invalid/x?password=other-pass&user=me",
    "store": f"the key {STORE_KEY} was refused",
    "bearer": f"headers: {{'Authorization': 'Bearer {API_KEY}'}}",
    "raw header": f"(b'authorization', b'Bearer {API_KEY}')",
    "basic": "Authorization: Basic bWU6c2VjcmV0",
    "x-api-key": f"X-Api-Key: {API_KEY}",
    "api key": f"refused {API_KEY}.",
    "setting": "store_api_key=hunter22, and more",
}
SECRETS = (PASSWORD, QUOTED, "other-pass", STORE_KEY, "c" * 64, "bWU6c2VjcmV0", "hunter22")


@pytest.mark.parametrize("kind", [TextFormatter, JsonFormatter])
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_no_secret_stands_in_a_line(settings: Settings, kind: Any, said: str) -> None:
    formatter = kind(Redaction(settings))
    for line in (_line(formatter, said), _line(formatter, "event", detail=said)):
        assert [secret for secret in SECRETS if secret in line] == []
    assert "***" in _line(formatter, said)


@pytest.mark.parametrize("password", ['qu"ote', "back\\slash", "new\nline", "ümlaut", "'tick'"])
def test_odd_secrets_are_hidden_and_leave_json_whole(tmp_path: Path, password: str) -> None:
    redaction = Redaction(Settings(root=tmp_path, store_api_key=SecretStr(password)))
    line = json.loads(_line(JsonFormatter(redaction), f"a {password} b", detail=repr([password])))
    assert line["message"] == "a *** b"
    assert password not in line["detail"]
    assert "***" in line["detail"]


def test_what_is_no_secret_stays(settings: Settings) -> None:
    said = "ready at http://127.0.0.1:7333; 3 of 4 passwords; user@example.com; lsk_0123456789ab"
    assert said in _line(TextFormatter(Redaction(settings)), said)


def test_a_traceback_is_redacted_too(settings: Settings) -> None:
    logger = logging.getLogger("lockstep.test")
    try:
        raise ValueError(f"connect postgresql://me:{QUOTED}@db.invalid")
    except ValueError:
        import sys

        for kind in (TextFormatter, JsonFormatter):
            record = logger.makeRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
            line = kind(Redaction(settings)).format(record)
            assert "ValueError" in line
            assert QUOTED not in line


def test_lines_say_which_request_caused_them(settings: Settings) -> None:
    token = request_id.set("r-1")
    try:
        assert _line(TextFormatter(Redaction(settings)), "hello").endswith("hello request_id=r-1")
        line = json.loads(_line(JsonFormatter(Redaction(settings)), "hello", status=200))
    finally:
        request_id.reset(token)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "INFO",
        "logger": "lockstep.x",
        "message": "hello",
        "request_id": "r-1",
        "status": 200,
    }
    assert "request_id" not in _line(TextFormatter(Redaction(settings)), "hello")


def test_a_line_cannot_be_forged(settings: Settings) -> None:
    said = "name\n2026-01-01T00:00:00.000Z INFO lockstep.audit: action='promote'"
    assert len(_line(JsonFormatter(Redaction(settings)), said).splitlines()) == 1


@pytest.fixture
def configured(tmp_path: Path) -> Any:
    """Applies a log configuration, and puts back what was there."""
    names = ("", "lockstep", "lockstep.access", "lockstep.audit", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, one.level, list(one.handlers)) for one in loggers]
    yield lambda settings: logging.config.dictConfig(log_config(settings, access_log=True))
    for one, level, handlers in before:
        for handler in one.handlers:
            if handler not in handlers:
                handler.close()
        one.setLevel(level)
        one.handlers[:] = handlers


def test_audit_lines_go_to_their_file_as_well(
    tmp_path: Path, configured: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(
        root=tmp_path, security=SecuritySettings(audit_path="audit.log"), log_format="json"
    )
    configured(settings)
    audit("promote", "done", corpus="docs", target="v3")

    kept = json.loads((tmp_path / "audit.log").read_text())
    assert kept == json.loads(capsys.readouterr().err)
    assert (kept["action"], kept["outcome"], kept["corpus"]) == ("promote", "done", "docs")
    assert (kept["logger"], kept["target"]) == ("lockstep.audit", "v3")
    assert "process" in kept["actor"]


def test_an_audit_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, security=SecuritySettings(audit_path="no/audit.log"))
    with pytest.raises(InvalidSetting, match=r"no/audit\.log, which cannot be written"):
        audit_handler(settings)


# Where passwords could get into messages before any log line is made of them.

URLS = (
    f"postgresql://me:{QUOTED}@127.0.0.1:1/lockstep",
    "postgresql://me:pa55/w@rd@127.0.0.1:1/lockstep",
    "postgresql://127.0.0.1:1/lockstep?user=me&password=pa55w",
    "postgresql://me:pa55@[::1/lockstep",
    "postgresql://me@127.0.0.1:pa55/lockstep",
    "mysql://me:pa55@host/lockstep",
    "pa55",
)


@pytest.mark.parametrize("url", URLS)
def test_no_message_about_a_database_holds_its_password(url: str) -> None:
    messages: list[str] = []
    try:
        database = Database(url)
        messages.append(database.name)
        database.migrate()
    except Exception as error:
        whole: BaseException | None = error
        while whole is not None:
            messages.append(f"{whole!r} {whole}")
            whole = whole.__cause__ or (None if whole.__suppress_context__ else whole.__context__)
    assert messages
    assert [message for message in messages if "pa55" in message or "rd@" in message] == []


@pytest.mark.parametrize("key", ["database_url", "store_api_key", "store_url"])
def test_a_setting_of_the_wrong_type_is_not_quoted_where_it_may_be_a_secret(
    tmp_path: Path, key: str
) -> None:
    (tmp_path / "lockstep.toml").write_text(f'{key} = ["pa55"]\n')
    with pytest.raises(InvalidSetting, match=f"Setting '{key}' has a value of type list") as caught:
        load_settings(tmp_path)
    assert "pa55" not in str(caught.value)


def test_a_failed_statement_does_not_tell_what_it_was_given(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'lockstep.db'}")
    database.migrate()
    statement = text("SELECT colour FROM corpora WHERE name = :name")
    with pytest.raises(DBAPIError) as caught, database.reading() as connection:
        connection.execute(statement, {"name": "embarrassing words"})
    assert "no such column" in str(caught.value)
    assert "embarrassing" not in str(caught.value)
    database.close()
