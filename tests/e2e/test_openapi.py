"""The server keeps what its OpenAPI document promises, whatever is sent to it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from schemathesis import openapi
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from server_process import ServerProcess

from lockstep.bootstrap import open_workspace
from lockstep.corpus.api_key import Scope

# `make fuzz` sets them.
EXAMPLES = int(os.environ.get("LOCKSTEP_FUZZ_EXAMPLES", "4"))
MIN_ANSWERS = 20 * EXAMPLES
SEED = int(os.environ.get("LOCKSTEP_FUZZ_SEED", "1"))

_ACCEPTED = ["2xx", "401", "404", "409", "410"]
# A schema cannot say all: that two fields exclude each other, what a filter is made of, that an
# integer anywhere in metadata has 64 bits.
_NOT_SAID = r"POST .*/(search|batch|trial|promote|feedback|documents)"


def _config(key: str | None) -> SchemathesisConfig:
    """Without a key every value that the schema has a limit for, and chance; with one, chance."""
    operations = [
        {
            "include-name-regex": _NOT_SAID,
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    ]
    settings: dict[str, Any] = {
        "seed": SEED,
        "parameters": {"path.corpus": "docs"},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": _ACCEPTED},
            "negative_data_rejection": {"expected-statuses": ["4xx"]},
        },
        "generation": {"max-examples": EXAMPLES},
        "phases": {
            "examples": {"enabled": False},
            "coverage": {"enabled": key is None},
            "stateful": {"enabled": False},
        },
        "operations": operations,
        "continue-on-failure": True,
        "request-timeout": 60.0,  # a busy machine is no bug
    }
    if key is not None:
        settings["headers"] = {"Authorization": f"Bearer {key}"}
    return SchemathesisConfig.from_dict(settings)


def _violations(url: str, key: str | None) -> Iterator[str]:
    """What differs from the document, and what could not be tested."""
    document = openapi.from_url(f"{url}/openapi.json", config=_config(key))
    for operation in document.raw_schema["paths"].values():
        for described in operation.values():
            del described["responses"]["default"]  # which would cover any status
    answered = 0
    for event in from_schema(document).execute():
        if isinstance(event, events.NonFatalError):
            yield f"{event.label}: {event.info.message}"
        elif isinstance(event, events.FatalError):
            yield repr(event.exception)
        elif isinstance(event, events.ScenarioFinished):
            answered += len(event.recorder.interactions)
            for checks in event.recorder.checks.values():
                for check in checks:
                    if check.failure_info is not None:
                        sample = check.failure_info.code_sample
                        yield f"{check.failure_info.failure}\n{sample}"
    if answered < MIN_ANSWERS:
        yield f"only {answered} requests were answered"


@pytest.mark.parametrize("keys", [False, True], ids=["open", "keys"])
def test_every_answer_is_as_the_document_says(keys: bool, root: Path, tmp_path: Path) -> None:
    settings = {"LOCKSTEP_QUERY_LOG__SHARE": "1"}
    key = None
    if keys:
        settings["LOCKSTEP_SECURITY__REQUIRE_KEY"] = "true"
        with open_workspace(root) as workspace:
            key = workspace.keys.create("fuzz", list(Scope))[1]
    with ServerProcess(root, tmp_path / "log", **settings) as server:
        found = list(_violations(str(server.http.base_url), key))
        if key is not None:
            server.http.headers["Authorization"] = f"Bearer {key}"
        assert server.http.get("/v1/corpora/docs").status_code == 200
        assert server.stop() == 0
    assert not found, "\n\n".join(found)
    assert "Traceback" not in server.log()
