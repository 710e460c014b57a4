"""`lockstep mcp` by the official client, as an agent runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import lockstep
import lockstep_indexer
from lockstep.client import AsyncClient

mcp = pytest.importorskip("mcp")

SOURCES = [Path(module.__file__ or "").parents[1] for module in (lockstep, lockstep_indexer)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCES))}
COMMAND = ("-m", "lockstep_indexer", "mcp")


def session(*arguments: str, do: Callable[[Any], Awaitable[None]]) -> None:
    """Start the command, speak to it, and end it."""

    async def speak() -> None:
        parameters = mcp.StdioServerParameters(
            command=sys.executable, args=[*COMMAND, *arguments], env=ENVIRONMENT
        )
        async with mcp.Client(mcp.stdio_client(parameters)) as client:
            await do(client)

    anyio.run(speak)


def text(result: Any) -> str:
    (content,) = result.content
    return str(content.text)


def test_an_agent_searches(url: str) -> None:
    async def do(client: Any) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == {"search", "get_document", "list_corpora"}
        assert all(tool.description and tool.annotations.read_only_hint for tool in tools)

        corpora = await client.call_tool("list_corpora", {})
        assert text(corpora) == "docs: 60 documents, live docs--v0001"

        asked = {
            "corpus": "docs",
            "query": "red river",
            "limit": 2,
            "filter": {"must": [{"key": "parity", "match": {"value": 1}}]},
        }
        found = await client.call_tool("search", asked)
        hits = found.structured_content["hits"]
        assert [hit["metadata"] for hit in hits] == [{"parity": 1}] * 2
        assert {hit["index_version"] for hit in hits} == {"docs--v0001"}
        for hit in hits:
            assert f"[{hit['document_id']}]" in text(found)
            assert hit["text"] in text(found)
        assert text(found).count("docs--v0001") == 2

        name = {"corpus": "docs", "id": hits[0]["document_id"]}
        document = await client.call_tool("get_document", name)
        assert document.structured_content["text"] in text(document)
        assert document.structured_content["id"] == name["id"]

        for tool, wrong, told in (
            ("search", {"corpus": "dcos", "query": "tea"}, "dcos"),
            ("search", {"corpus": "docs", "query": "tea", "limit": 1000}, "limit"),
            ("search", {"corpus": "docs", "query": "tea", "filter": {"must": 3}}, "filter"),
            ("get_document", {"corpus": "docs", "id": "nobody"}, "nobody"),
        ):
            refused = await client.call_tool(tool, wrong)
            assert refused.is_error
            assert told in text(refused)
            assert "Traceback" not in text(refused)
            assert "pydantic" not in text(refused)

    session("--url", url, do=do)


def test_a_long_document_is_read_in_parts(url: str) -> None:
    mcp_module = pytest.importorskip("lockstep.integrations.mcp")
    whole = "".join(f"Line {n}.\n" for n in range(5000))

    async def do() -> None:
        async with (
            AsyncClient(url, timeout_s=30) as asked,
            mcp.Client(mcp_module.mcp_server(asked)) as client,
        ):
            await asked.upsert("docs", [{"id": "long", "text": whole}])
            read, offset = "", 0
            while offset is not None:
                part = {"corpus": "docs", "id": "long", "offset": offset}
                result = await client.call_tool("get_document", part)
                read += result.structured_content["text"]
                offset = result.structured_content["next_offset"]
                assert ("offset=" in text(result)) == (offset is not None)
            assert read == whole
            await asked.delete("docs", ["long"])

    anyio.run(do)


def test_a_server_that_is_down_is_told_to_the_agent() -> None:
    async def do(client: Any) -> None:
        result = await client.call_tool("search", {"corpus": "docs", "query": "tea"})
        assert result.is_error
        assert "http://127.0.0.1:9 did not answer" in text(result)
        assert "lockstep serve" in text(result)

    session("--url", "http://127.0.0.1:9", "--timeout-s", "0.5", "-v", do=do)


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.mark.parametrize("end", ["stdin ends", "ctrl-c"])
def test_stdout_holds_the_protocol_and_nothing_else(url: str, end: str) -> None:
    with subprocess.Popen(
        [sys.executable, *COMMAND, "--url", url, "-v"],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(HELLO) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert answer["result"]["serverInfo"]["name"] == "lockstep"
        if end == "ctrl-c":
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == -signal.SIGINT
        assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == (0 if end == "stdin ends" else -signal.SIGINT)
