"""The client's fields against the server's OpenAPI, so that the two cannot drift apart.

A field that the server gains fails a test here until the client has it; AHEAD lists what the client
knows before the server does.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel

from lockstep.api.app import create_app
from lockstep.client import answers, bodies, calls
from lockstep.settings import init_workspace, load_settings

Json = dict[str, Any]

ANSWERS: dict[str, type[BaseModel]] = {
    "SearchView": answers.SearchResponse,
    "BatchView": answers.SearchBatch,
    "DocumentView": answers.Document,
    "WriteView": answers.WriteResult,
    "VersionsView": answers.Versions,
    "CorporaView": answers.Corpora,
    "CorpusDetailView": answers.CorpusDetail,
    "SwapView": answers.Swap,
    "EmbeddingsView": answers.Embeddings,
    "Problem": answers.Problem,
}
BODIES: dict[str, type] = {
    "SearchBody": bodies.Search,
    "FusionBody": bodies.Fusion,
    "WeightsBody": bodies.Weights,
    "PrefilterBody": bodies.Prefilter,
    "GroupBody": bodies.GroupBy,
    "DiversityBody": bodies.Diversity,
    "RerankBody": bodies.Rerank,
    "HighlightBody": bodies.HighlightChoice,
    "FacetBody": bodies.FacetChoice,
    "RecencyBody": bodies.RecencyBoost,
    "PopularityBody": bodies.PopularityBoost,
    "DocumentBody": bodies.NewDocument,
}
CALLS: dict[str, calls.Call[Any]] = {
    "search": calls.search("docs", "tea", {}),
    "search_batch": calls.search_batch("docs", [], None),
    "upsert": calls.upsert("docs", [], 1.0),
    "delete": calls.delete("docs", [], 1.0),
    "get": calls.get("docs", "a"),
    "corpora": calls.corpora(),
    "corpus": calls.corpus("docs"),
    "versions": calls.versions("docs"),
    "feedback": calls.feedback("docs", "s", "a"),
    "embeddings": calls.embeddings("tea", "docs"),
    "promote": calls.promote(
        "docs", 1, reason="r", force=False, require_better=False, wait_s=1
    ),
    "rollback": calls.rollback("docs", reason="r", wait_s=1),
}  # fmt: skip

AHEAD: set[str] = set()


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> Json:
    root = Path(tmp_path_factory.mktemp("contract"))
    init_workspace(root)
    return create_app(load_settings(root)).openapi()


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_what_the_server_declares(openapi: Json, name: str) -> None:
    client = ANSWERS[name].model_json_schema(mode="serialization")
    server = openapi["components"]["schemas"]
    problems = list(differences(client, client.get("$defs", {}), server[name], server))
    assert problems == []


@pytest.mark.parametrize("name", BODIES)
def test_requests_are_what_the_server_takes(openapi: Json, name: str) -> None:
    mine = set(get_type_hints(BODIES[name]))
    theirs = set(openapi["components"]["schemas"][name]["properties"])
    assert theirs - mine == set(), "the client cannot ask for these"
    ahead = {field for field in mine if f"{BODIES[name].__name__}.{field}" in AHEAD}
    assert mine - theirs - ahead == set(), "the server does not know these"


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_routes_and_their_fields_are_known(openapi: Json, name: str) -> None:
    call = CALLS[name]
    route = next((path for path in openapi["paths"] if matches(path, call.path)), None)
    if route is None or call.method.lower() not in openapi["paths"][route]:
        assert name in AHEAD, f"{call.method} {call.path} is no route"
        return
    operation = openapi["paths"][route][call.method.lower()]
    parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
    assert set(call.params or {}) <= parameters
    if call.body is not None:
        content = operation["requestBody"]["content"]["application/json"]["schema"]
        known = resolved(content, openapi["components"]["schemas"])["properties"]
        assert set(call.body) <= set(known)


def test_choices_are_those_of_the_server(openapi: Json) -> None:
    schemas = openapi["components"]["schemas"]
    for body, field in (("SearchBody", "mode"), ("FusionBody", "method")):
        declared = resolved(schemas[body]["properties"][field], schemas)
        mine = get_args(get_type_hints(BODIES[body])[field])
        assert set(mine) == set(declared.get("enum", [declared.get("const")]))


def differences(client: Json, mine: Json, server: Json, theirs: Json) -> Iterator[str]:
    """How an object of the client differs from the server's; by name and by type of each field."""
    kind = client["title"]
    for field, declared in server["properties"].items():
        if field not in client["properties"]:
            yield f"{kind}.{field} is unknown to the client"
            continue
        known = client["properties"][field]
        if missing := types(declared, theirs) - types(known, mine):
            yield f"{kind}.{field} may be {missing}, which the client does not read"
        pairs = zip(objects(known, mine), objects(declared, theirs), strict=False)
        for inner, outer in pairs:
            yield from differences(inner, mine, outer, theirs)
    for field in client["properties"].keys() - server["properties"].keys():
        if f"{kind}.{field}" not in AHEAD:
            yield f"{kind}.{field} is unknown to the server"
    required = set(client.get("required", ())) - set(server["properties"])
    yield from (f"{kind}.{field} never comes, and the client insists on it" for field in required)


def types(schema: Json, definitions: Json) -> set[str]:
    """The JSON types that a schema allows."""
    found = set()
    for one in branches(schema, definitions):
        named = one.get("type")
        if named is None and ("enum" in one or "const" in one):
            named = "string"
        if named is None:
            return {"any", "array", "boolean", "integer", "null", "number", "object", "string"}
        found.add(named)
    return found | ({"integer"} if "number" in found else set())


def objects(schema: Json, definitions: Json) -> list[Json]:
    """The objects with fields of their own that a schema leads to."""
    found = []
    for one in branches(schema, definitions):
        if one.get("type") == "array":
            found += objects(one.get("items", {}), definitions)
        elif isinstance(one.get("additionalProperties"), dict):
            found += objects(one["additionalProperties"], definitions)
        elif "properties" in one:
            found.append(one)
    return found


def branches(schema: Json, definitions: Json) -> list[Json]:
    if "$ref" in schema or "allOf" in schema:
        return branches(resolved(schema, definitions), definitions)
    if "anyOf" in schema:
        return [one for inner in schema["anyOf"] for one in branches(inner, definitions)]
    return [schema]


def resolved(schema: Json, definitions: Json) -> Json:
    """What a reference leads to; of an optional one, what is not null."""
    if "anyOf" in schema:
        return resolved(next(one for one in schema["anyOf"] if "$ref" in one), definitions)
    if "allOf" in schema:
        return resolved(schema["allOf"][0], definitions)
    name = schema.get("$ref", "").rpartition("/")[2]
    return definitions[name] if name else schema


def matches(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path) is not None
