"""The document routes: writing, deleting, reading."""

from typing import Any
from urllib.parse import quote, unquote

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

URL = "/v1/corpora/notes/documents"


def _put(client: TestClient, *documents: dict[str, Any], url: str = URL) -> Any:
    response = client.post(url, json={"documents": documents})
    assert response.status_code == 200, response.text
    return response.json()


def test_the_first_documents_create_the_corpus(client: TestClient) -> None:
    url = "/v1/corpora/created/documents"

    answer = _put(client, {"id": "a", "text": "one"}, {"id": "b", "text": "two"}, url=url)

    assert answer == {
        "added": 2,
        "changed": 0,
        "unchanged": 0,
        "deleted": 0,
        "missing": 0,
        "head_seq": 2,
        "indexed": "not_awaited",
    }
    listed = client.get("/v1/corpora").json()["corpora"]
    assert next(one for one in listed if one["name"] == "created")["documents"] == 2


def test_writing_again_changes_only_what_differs(client: TestClient) -> None:
    _put(client, {"id": "a", "text": "one"}, {"id": "b", "text": "two"})

    answer = _put(client, {"id": "a", "text": "one"}, {"id": "b", "text": "three"})

    assert (answer["added"], answer["changed"], answer["unchanged"]) == (0, 1, 1)


def test_a_document_comes_back_as_it_was_written(client: TestClient) -> None:
    document = {"id": "full", "text": "Text", "title": "Title", "metadata": {"n": [1, None, "é"]}}
    _put(client, document)

    answer = client.get(f"{URL}/full").json()

    assert {key: answer[key] for key in document} == document


def test_deleted_documents_are_gone_and_missing_ones_are_counted(client: TestClient) -> None:
    _put(client, {"id": "gone", "text": "soon"})

    answer = client.request("DELETE", URL, json={"ids": ["gone", "never"]}).json()

    assert (answer["deleted"], answer["missing"]) == (1, 1)
    assert client.get(f"{URL}/gone").status_code == 404


# A URL's path cannot hold the segments "." and "..", nor can clients be kept from resolving them.
# The test client decodes a path twice, which no server does: "%00" would not arrive as it is.
_IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)


@given(_IDS.filter(lambda text: not {".", ".."} & set(text.split("/")) and unquote(text) == text))
def test_any_id_can_be_read_back(client: TestClient, document_id: str) -> None:
    _put(client, {"id": document_id, "text": "text"})

    response = client.get(f"{URL}/{quote(document_id, safe='')}")

    assert response.status_code == 200, response.text
    assert response.json()["id"] == document_id


def test_an_id_may_hold_plain_slashes_and_line_breaks(client: TestClient) -> None:
    _put(client, {"id": "a/b//c\nd/", "text": "text"})

    assert client.get(f"{URL}/a/b//c%0Ad/").json()["id"] == "a/b//c\nd/"


def test_waiting_without_an_index_says_so_and_keeps_the_write(client: TestClient) -> None:
    body = {"documents": [{"id": "kept", "text": "text"}]}

    answer = client.post(f"{URL}?wait=indexed", json=body).json()

    assert answer["indexed"] == "no_live_index"
    assert client.get(f"{URL}/kept").status_code == 200


def test_a_write_that_waited_can_be_found_and_a_delete_that_waited_cannot(
    client: TestClient,
) -> None:
    url, search = "/v1/corpora/docs/documents", "/v1/corpora/docs/search"
    query = {"query": "quetzalcoatlus", "mode": "lexical"}

    body = {"documents": [{"id": "new", "text": "quetzalcoatlus flies"}]}
    assert client.post(f"{url}?wait=indexed", json=body).json()["indexed"] == "yes"
    assert [hit["document_id"] for hit in client.post(search, json=query).json()["hits"]] == ["new"]

    answer = client.request("DELETE", f"{url}?wait=indexed", json={"ids": ["new"]}).json()
    assert answer["indexed"] == "yes"
    assert client.post(search, json=query).json()["hits"] == []


def test_waiting_ends_when_its_time_is_up(client: TestClient) -> None:
    body = {"documents": [{"id": "late", "text": "text"}]}

    answer = client.post("/v1/corpora/docs/documents?wait=indexed&timeout_s=1e-9", json=body).json()

    assert answer["indexed"] == "not_yet"


def _documents(*documents: Any) -> dict[str, Any]:
    return {"documents": documents}


REFUSED = {
    "none": (_documents(), "documents: "),
    "too many": (_documents(*[{"id": str(n), "text": "a"} for n in range(1001)]), "documents: "),
    "no text": (_documents({"id": "a"}), "documents.0.text: Field required"),
    "number for id": (_documents({"id": 1, "text": "a"}), "documents.0.id: "),
    "empty text": (_documents({"id": "blank", "text": " "}), "'blank' has an empty text"),
    "unknown field": (
        _documents({"id": "a", "text": "b", "tags": []}),
        "Put fields of your own into metadata.",
    ),
    "too large": (
        _documents({"id": "fine", "text": "a"}, {"id": "big", "text": "é" * 2048}),
        "'big' has 4,132 bytes; at most 4,096 are allowed",
    ),
}


@pytest.mark.parametrize(("body", "says"), REFUSED.values(), ids=REFUSED)
def test_one_bad_document_refuses_all_and_creates_nothing(
    client: TestClient, body: Any, says: str
) -> None:
    response = client.post("/v1/corpora/refused/documents", json=body)

    assert response.status_code == 422
    assert says in response.json()["detail"]
    assert client.get("/v1/corpora/refused").status_code == 404


def test_a_name_that_no_corpus_can_have_is_refused(client: TestClient) -> None:
    response = client.post("/v1/corpora/A--B/documents", json=_documents({"id": "a", "text": "b"}))

    assert response.status_code == 422
    assert "cannot name a corpus" in response.json()["detail"]


@pytest.mark.parametrize("content", [b'{"n": NaN}', b'{"n": "\\ud800"}', b'{"\\ud800": 1}'])
def test_metadata_that_is_not_json_is_refused(client: TestClient, content: bytes) -> None:
    body = b'{"documents": [{"id": "a", "text": "b", "metadata": ' + content + b"}]}"

    response = client.post(URL, content=body, headers={"content-type": "application/json"})

    assert response.status_code == 422, response.text


def test_a_corpus_or_document_that_is_not_there_is_not_found(client: TestClient) -> None:
    missing = client.request("DELETE", "/v1/corpora/nope/documents", json={"ids": ["a"]})

    assert missing.status_code == 404
    assert client.get("/v1/corpora/nope/documents/a").status_code == 404
    assert client.get("/v1/corpora/docs/documents/nope").status_code == 404
    assert client.get("/v1/corpora/docs/documents/").status_code == 404
