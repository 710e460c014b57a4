"""Embeddings in OpenAI's shape."""

import base64
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from lockstep.corpus.api_key import Scope

from .conftest import Keyed

URL = "/v1/embeddings"
TEXTS = ["red river", "tall stone cloud"]


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post(URL, json={"model": "docs", "input": TEXTS, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def vectors(answer: dict[str, Any]) -> Any:
    return np.array([each["embedding"] for each in answer["data"]], dtype=np.float32)


def test_the_live_model_encodes(client: TestClient) -> None:
    answer = ask(client)
    assert (answer["object"], answer["model"]) == ("list", "tiny@2")
    assert answer["index_version"] == "docs--v0002"
    assert [each["index"] for each in answer["data"]] == [0, 1]
    assert np.allclose(np.linalg.norm(vectors(answer), axis=1), 1, atol=1e-5)
    alone = ask(client, input=TEXTS[1])
    assert np.allclose(vectors(alone)[0], vectors(answer)[1], atol=1e-5)
    assert 0 < alone["usage"]["prompt_tokens"] < answer["usage"]["prompt_tokens"]


def test_a_query_vector_finds_what_the_search_finds(client: TestClient) -> None:
    hit = client.post(
        "/v1/corpora/docs/search", json={"query": TEXTS[0], "mode": "dense", "limit": 1}
    ).json()["hits"][0]
    passage = ask(client, input=f"{hit['title']}\n{hit['text']}", input_type="passage")
    query = ask(client, input=TEXTS[0])
    assert float(vectors(query)[0] @ vectors(passage)[0]) == pytest.approx(hit["score"], abs=0.05)


def test_base64_holds_the_same_numbers(client: TestClient) -> None:
    encoded = [each["embedding"] for each in ask(client, encoding_format="base64")["data"]]
    read = np.array([np.frombuffer(base64.b64decode(text), dtype="<f4") for text in encoded])
    assert np.array_equal(read, vectors(ask(client)))


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"input": []}, 422, "input"),
        ({"input": ""}, 422, "input"),
        ({"input": [1, 2]}, 422, "input"),
        ({"input": ["a"] * 257}, 422, "input"),
        ({"input": "x" * 70_000}, 422, "input"),
        ({"dimensions": 7}, 422, "dimensions is 7; tiny@2 gives"),
        ({"encoding_format": "int8"}, 422, "encoding_format"),
        ({"modle": "docs"}, 422, "Did you mean 'model'?"),
        ({"model": "nothing"}, 404, "There is no corpus 'nothing'"),
    ],
)
def test_what_cannot_be_encoded_is_refused(
    client: TestClient, body: dict[str, Any], status: int, detail: str
) -> None:
    answer = client.post(URL, json={"model": "docs", "input": "red", **body})
    assert (answer.status_code, detail in answer.text) == (status, True), answer.text


def test_half_a_character_is_refused(client: TestClient) -> None:
    content = b'{"model": "docs", "input": "\\ud800"}'
    answer = client.post(URL, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text


def test_a_key_encodes_only_with_the_models_of_its_corpora(keyed: Keyed) -> None:
    own = keyed.key("own", Scope.SEARCH, corpora=["docs"])
    other = keyed.key("other", Scope.SEARCH, corpora=["elsewhere"])
    body = {"model": "docs", "input": "red"}
    assert keyed.ask(own, "POST", URL, json=body).status_code == 200
    for model in ("docs", "nothing"):
        refused = keyed.ask(other, "POST", URL, json={**body, "model": model})
        assert refused.status_code == 403
    assert keyed.http.post(URL, json=body).status_code == 401
