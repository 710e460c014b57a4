"""Facets and boosts from a build to an answer, by Python and over HTTP, on every engine."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from actions import add_model
from engines import ENGINES, running_engine
from fastapi.testclient import TestClient
from workspaces import CORPUS

from lockstep.api.app import create_app
from lockstep.bootstrap import Workspace, open_workspace
from lockstep.corpus.documents import Document
from lockstep.errors import SearchUnsupported
from lockstep.index.spec import SpecOptions
from lockstep.search.boosts import Boost, PopularityBoost, RecencyBoost
from lockstep.search.facets import Facet
from lockstep.search.request import Mode, SearchRequest, SearchResponse
from lockstep.settings import load_settings
from lockstep_indexer.build.reindex import reindex

NOW = datetime(2026, 3, 1, tzinfo=UTC)
URL = f"/v1/corpora/{CORPUS}/search"
ODD: dict[str, Any] = {"views": "many", "published": 5, "lang": 7, "in print": "yes"}


def documents() -> list[Document]:
    """24 of one text; the longer of them have several passages."""
    made = []
    for n in range(24):
        metadata: dict[str, Any] = {
            "lang": ["en", "de", "fr"][n % 3] if n % 8 else ["en", "de"],
            "year": 2000 + n % 2,
            "views": n * 10,
            "published": f"2026-02-{n + 1:02}",
        }
        text = "A red river runs by a tall stone. " * (1 + n % 2 * 20)
        made.append(Document(f"doc-{n:02}", text, metadata=metadata if n != 5 else ODD))
    return made


@pytest.fixture(scope="module", params=ENGINES)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Workspace, TestClient]]:
    """v1 is live and indexes three fields."""
    folder = tmp_path_factory.mktemp("facets")
    indexes = {"lang": "keyword", "year": "integer", "published": "datetime"}
    with running_engine(request.param) as engine:
        root = engine.root(folder / "workspace")
        with open_workspace(root) as workspace:
            workspace.corpora.create(CORPUS)
            workspace.corpora.write(CORPUS, documents())
            model = workspace.models.resolve(add_model(workspace, folder / "model", seed=1))
            options = SpecOptions(payload_indexes=indexes)  # type: ignore[arg-type]
            reindex(workspace, CORPUS, model, options, promote=True)
        app = create_app(load_settings(root))
        with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
            yield app.state.running.workspace, client


def counts(answer: SearchResponse) -> dict[str, dict[Any, int]]:
    assert answer.facets is not None
    return {name: {c.value: c.count for c in found} for name, found in answer.facets.items()}


def test_documents_are_counted_not_passages(opened: tuple[Workspace, TestClient]) -> None:
    workspace, _ = opened
    live = workspace.store.aliases()[CORPUS]
    assert workspace.store.count(live) > 24
    answer = workspace.search(CORPUS, SearchRequest("river", limit=1, facets=["lang", "year"]))
    expected: Counter[Any] = Counter()
    for document in documents():
        lang = document.metadata["lang"]
        expected.update(lang if isinstance(lang, list) else [lang])
    if not workspace.settings.store_url:  # the stand-in has no indexes, so it counts all types
        del expected[ODD["lang"]]
    assert counts(answer)["lang"] == expected
    assert counts(answer)["year"] == {2000: 12, 2001: 11}
    assert len(answer.hits) == 1


def test_a_filter_decides_what_is_counted(opened: tuple[Workspace, TestClient]) -> None:
    workspace, _ = opened
    german = {"must": [{"key": "lang", "match": {"value": "de"}}]}
    request = SearchRequest("river", filter=german, facets=[Facet("year", 1)])
    years = Counter(d.metadata["year"] for d in documents() if "de" in str(d.metadata["lang"]))
    answer = workspace.search(CORPUS, request)
    assert counts(answer)["year"] == dict(years.most_common(1))


@pytest.mark.parametrize("mode", list(Mode))
def test_boosts_bring_up_what_is_recent_and_popular(
    opened: tuple[Workspace, TestClient], mode: Mode
) -> None:
    workspace, _ = opened
    boosts: list[Boost] = [RecencyBoost("published", 10, 1, NOW), PopularityBoost("views", 100, 1)]
    wanted = SearchRequest("red river", limit=100, mode=mode, group_by_document=False)
    request = replace(wanted, boosts=boosts, explain=True)
    answer = workspace.search(CORPUS, request)
    plain = {hit.id: hit.score for hit in workspace.search(CORPUS, wanted).hits}
    assert {hit.id for hit in answer.hits} == plain.keys()
    for hit in answer.hits:
        assert hit.boosts is not None
        n = int(hit.document_id.removeprefix("doc-"))
        values = (0.0, 0.0) if n == 5 else (0.5 ** ((28 - n) / 10), n * 10 / (n * 10 + 100))
        assert [part["value"] for part in hit.boosts["parts"]] == pytest.approx(values, abs=1e-5)
        base = (1 + plain[hit.id]) / 2 if mode is Mode.DENSE else plain[hit.id]
        assert hit.boosts["base"] == base
        assert hit.score == pytest.approx(base * (1 + sum(values)), abs=1e-5)
    order = [(-hit.score, hit.id) for hit in answer.hits]
    assert order == sorted(order)
    again = workspace.search(CORPUS, request)
    assert [asdict(hit) for hit in again.hits] == [asdict(hit) for hit in answer.hits]


def test_http_answers_as_python_does(opened: tuple[Workspace, TestClient]) -> None:
    workspace, client = opened
    body = {
        "query": "red river",
        "explain": True,
        "facets": ["lang", {"field": "year", "limit": 1}],
        "boosts": [
            {
                "kind": "recency",
                "field": "published",
                "half_life_days": 10,
                "weight": 0.3,
                "now": "2026-03-01T00:00:00Z",
            },
            {"kind": "popularity", "field": "views", "midpoint": 100, "weight": 0.2},
        ],
    }
    over_http = client.post(URL, json=body).json()
    in_python = workspace.search(
        CORPUS,
        SearchRequest(
            "red river",
            explain=True,
            facets=["lang", Facet("year", 1)],
            boosts=[RecencyBoost("published", 10, 0.3, NOW), PopularityBoost("views", 100, 0.2)],
        ),
    )
    assert over_http["facets"] == asdict(in_python)["facets"]
    assert [(h["id"], h["score"], h["boosts"]) for h in over_http["hits"]] == [
        (h.id, h.score, h.boosts) for h in in_python.hits
    ]
    assert over_http["hits"][0]["boosts"]["parts"][0]["kind"] == "recency"
    plain = client.post(URL, json={"query": "red river"}).json()
    assert plain["facets"] is None
    assert plain["hits"][0]["boosts"] is None


def test_a_field_without_an_index_is_not_counted(opened: tuple[Workspace, TestClient]) -> None:
    workspace, client = opened
    with pytest.raises(SearchUnsupported) as refused:
        workspace.search(CORPUS, SearchRequest("river", facets=["views"]))
    assert "cannot count the values of 'views': it has no index of it" in refused.value.message
    assert "It can count lang, year" in refused.value.message
    assert refused.value.next_step == (
        "lockstep reindex docs --model tiny@1 "
        "--index lang:keyword --index published:datetime --index views:keyword --index year:integer"
    )
    dated = client.post(URL, json={"query": "river", "facets": ["published"]})
    assert dated.status_code == 422
    assert "its index is of type datetime" in dated.json()["detail"]


def test_versions_show_what_they_index(opened: tuple[Workspace, TestClient]) -> None:
    _, client = opened
    [version] = client.get(f"/v1/corpora/{CORPUS}/versions").json()["versions"]
    assert version["spec"]["payload_indexes"] == {
        "lang": "keyword",
        "published": "datetime",
        "year": "integer",
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "facets": ({"facets": "lang"}, "facets: "),
    "eleven facets": ({"facets": [f"f{n}" for n in range(11)]}, "facets: "),
    "no facet": ({"facets": [5]}, "facets.0"),
    "facet's limit": ({"facets": [{"field": "lang", "limit": 10**9}]}, "expected 1 to 100"),
    "facet's field": ({"facets": ["a b"]}, "expected a metadata field"),
    "facet's extra": ({"facets": [{"field": "lang", "size": 1}]}, "facets.0"),
    "boost's kind": ({"boosts": [{"kind": "magic", "field": "a"}]}, "'recency', 'popularity'"),
    "no kind": ({"boosts": [{"field": "a", "weight": 1}]}, "boosts.0"),
    "midpoint of recency": (
        {"boosts": [{"kind": "recency", "field": "a", "midpoint": 1, "weight": 1}]},
        "Unknown field 'midpoint'",
    ),
    "text weight": (
        {"boosts": [{"kind": "popularity", "field": "a", "midpoint": 1, "weight": "1"}]},
        "weight: Input should be a valid number",
    ),
    "huge weight": (
        {"boosts": [{"kind": "popularity", "field": "a", "midpoint": 1, "weight": 1e300}]},
        "expected 0 to 100",
    ),
    "now": (
        {
            "boosts": [
                {
                    "kind": "recency",
                    "field": "a",
                    "half_life_days": 1,
                    "weight": 1,
                    "now": "yesterday",
                }
            ]
        },
        "now: ",
    ),
    "another index": (
        {"boosts": [{"kind": "popularity", "field": "lang", "midpoint": 1, "weight": 1}]},
        "of type keyword of 'lang'",
    ),
}


@pytest.mark.parametrize(("fields", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused(
    opened: tuple[Workspace, TestClient], fields: dict[str, Any], says: str
) -> None:
    _, client = opened
    response = client.post(URL, json={"query": "river", **fields})
    assert response.status_code == 422, response.text
    assert says in response.json()["detail"]


def test_nan_is_refused(opened: tuple[Workspace, TestClient]) -> None:
    _, client = opened
    content = (
        b'{"query": "a", "boosts": [{"kind": "popularity", "field": "views", "midpoint": NaN, '
        b'"weight": NaN}]}'
    )
    response = client.post(URL, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert "nan" in response.json()["detail"]
