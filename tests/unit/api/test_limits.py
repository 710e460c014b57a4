"""A body that is too large is refused, whether or not it says so before; so are headers."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from lockstep.api import problems
from lockstep.api.limits import MAX_HEADER_BYTES, BodyLimit, HeaderLimit

LIMIT = 1000


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(BodyLimit, max_bytes=LIMIT)
    app.add_middleware(HeaderLimit)
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


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/raw", {"X-Long": "x" * MAX_HEADER_BYTES}),
        ("/raw", {f"X-{n}": "x" * 1000 for n in range(66)}),
        ("/raw?" + "x" * 60_000, {"X-Long": "x" * 6_000}),
    ],
    ids=["one", "many", "first line too"],
)
def test_headers_over_the_limit_are_refused(
    client: TestClient, path: str, headers: dict[str, str]
) -> None:
    response = client.post(path, headers=headers)

    assert response.status_code == 431
    assert response.headers["content-type"] == problems.MEDIA_TYPE
    assert "65,536 bytes" in response.json()["detail"]


def test_headers_under_the_limit_pass(client: TestClient) -> None:
    headers = {"X-Long": "x" * (MAX_HEADER_BYTES - 1000)}
    assert client.post("/raw", content=b"abc", headers=headers).json() == 3
