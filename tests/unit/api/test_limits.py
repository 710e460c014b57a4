"""A body that is too large is refused, whether or not it says so before."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from lockstep.api import problems
from lockstep.api.limits import BodyLimit

LIMIT = 1000


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(BodyLimit, max_bytes=LIMIT)
    problems.install(app)

    @app.post("/raw")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.post("/parsed")
    def parse(body: dict[str, str]) -> int:
        return len(body["text"])

    return TestClient(app)


def _chunks(size: int) -> Iterator[bytes]:
    yield b'{"text": "'
    for _ in range(size // 100):
        yield b"x" * 100
    yield b'"}'


@pytest.mark.parametrize("path", ["/raw", "/parsed"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(client: TestClient, path: str, chunked: bool) -> None:
    body = b"".join(_chunks(LIMIT))
    headers = {"content-type": "application/json"}

    response = client.post(path, content=_chunks(LIMIT) if chunked else body, headers=headers)

    assert response.status_code == 413
    assert response.headers["content-type"] == problems.MEDIA_TYPE
    assert "1,000 bytes" in response.json()["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_under_the_limit_passes(client: TestClient, chunked: bool) -> None:
    content = _chunks(900) if chunked else b"".join(_chunks(900))

    response = client.post("/parsed", content=content, headers={"content-type": "application/json"})

    assert response.json() == 900
