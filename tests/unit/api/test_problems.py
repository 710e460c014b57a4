"""Every error has one status, and every problem one shape."""

import logging
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lockstep import errors
from lockstep.api import problems
from lockstep.api.problems import MEDIA_TYPE, problem_of, status_of
from lockstep.errors import LockstepError

EXPECTED = {
    "LockstepError": 500,
    "InvalidInput": 422,
    "InvalidDocument": 422,
    "InvalidFilter": 422,
    "InvalidSetting": 422,
    "Contaminated": 422,
    "ModelRejected": 422,
    "SearchUnsupported": 422,
    "WrongModelKind": 422,
    "NotFound": 404,
    "CorpusNotFound": 404,
    "DocumentNotFound": 404,
    "ModelNotFound": 500,
    "IndexVersionNotFound": 404,
    "QuerySetNotFound": 404,
    "SearchNotFound": 404,
    "RerankerNotFound": 404,
    "TrialNotFound": 404,
    "KeyNotFound": 404,
    "CollectionNotFound": 503,
    "NoLiveIndex": 409,
    "Conflict": 409,
    "CollectionExists": 409,
    "CollectionInUse": 409,
    "LeaseHeld": 409,
    "LeaseLost": 409,
    "PromotionRefused": 409,
    "GateFailed": 409,
    "RepairRefused": 409,
    "StillServed": 409,
    "TrialRefused": 409,
    "NothingToRollBack": 409,
    "NotBetter": 409,
    "CursorExpired": 410,
    "Overloaded": 503,
    "KeyExists": 409,
    "AccessDenied": 403,
    "KeyRequired": 401,
    "IntegrityError": 500,
    "ArtefactDamaged": 500,
    "CollectionDamaged": 500,
    "ManifestDamaged": 500,
    "DimensionMismatch": 500,
    "EncodingFailed": 500,
    "ProbeFailed": 500,
    "TrainingDiverged": 500,
    "Unavailable": 503,
    "ChatUnavailable": 503,
    "DeviceMemoryFull": 503,
    "StoreUnavailable": 503,
    "DatabaseUnavailable": 503,
    "ArtefactsUnavailable": 503,
    "RateLimited": 429,
    "HubUnavailable": 503,
    "WorkersUnavailable": 503,
    "StorageFull": 507,
}


def _kinds(kind: type[LockstepError] = LockstepError) -> Iterator[type[LockstepError]]:
    """Those that the server raises; its client has some of its own."""
    if kind.__module__ == errors.__name__:
        yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


def _app(error: Exception) -> TestClient:
    app = FastAPI()
    problems.install(app)

    @app.get("/")
    def fail() -> None:
        raise error

    return TestClient(app, raise_server_exceptions=False)


def test_every_error_has_the_status_that_is_written_here() -> None:
    assert {kind.__name__: status_of(kind("")) for kind in _kinds()} == EXPECTED


@pytest.mark.parametrize("kind", list(_kinds()), ids=lambda kind: kind.__name__)
def test_every_error_becomes_a_problem(kind: type[LockstepError]) -> None:
    response = _app(kind("What, actual, expected.", next_step="Do this.")).get("/")

    assert response.status_code == status_of(kind(""))
    assert response.headers["content-type"] == MEDIA_TYPE
    body = response.json()
    assert body == {
        "type": body["type"],
        "title": body["title"],
        "status": response.status_code,
        "detail": "What, actual, expected.",
        "next_step": "Do this.",
    }
    assert body["type"].startswith("urn:lockstep:problem:")
    assert ("retry-after" in response.headers) == (response.status_code == 503)


def test_a_problem_is_named_for_its_error_and_leaves_out_what_is_not_there() -> None:
    problem = problem_of(errors.NothingToRollBack("There is none."))

    assert problem.model_dump(exclude_none=True) == {
        "type": "urn:lockstep:problem:nothing-to-roll-back",
        "title": "Nothing to roll back",
        "status": 409,
        "detail": "There is none.",
    }


def test_an_unexpected_error_tells_the_client_nothing_of_itself() -> None:
    response = _app(ZeroDivisionError("secret")).get("/")

    assert response.status_code == 500
    assert response.headers["content-type"] == MEDIA_TYPE
    assert "secret" not in response.text
    assert "Traceback" not in response.text


def test_an_unexpected_error_goes_on_to_the_server_which_logs_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = _app(ZeroDivisionError("secret")).app

    with caplog.at_level(logging.ERROR), pytest.raises(ZeroDivisionError):
        TestClient(app).get("/")


def test_a_lone_surrogate_in_a_message_can_be_sent() -> None:
    response = _app(errors.InvalidInput("Not text: \ud800")).get("/")

    assert response.status_code == 422
    assert response.json()["detail"] == "Not text: \ud800"
