"""An MCP server that lets an agent search a running server; needs the extra `mcp`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from lockstep import __version__
from lockstep.client import AsyncClient, Corpus, Document, SearchOptions, SearchResponse
from lockstep.errors import LockstepError

MAX_LIMIT = 50
# What one answer may take of an agent's attention; get_document has the rest, part by part.
MAX_PASSAGE_CHARS = 2_000
MAX_DOCUMENT_CHARS = 20_000

_INSTRUCTIONS = """\
Searches corpora of documents by meaning and by words. Call list_corpora for their names, search for
passages, get_document for a whole text. Name the document id of what you use."""

_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

CorpusName = Annotated[str, Field(description="The name of a corpus, from list_corpora.")]
Query = Annotated[str, Field(description="A question, or words, in plain language.")]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many passages at most.")]
Filter = Annotated[
    dict[str, Any] | None,
    Field(
        description="Qdrant's filter JSON over metadata fields: "
        '{"must": [{"key": "language", "match": {"value": "en"}}]}'
    ),
]
DocumentId = Annotated[str, Field(description="document_id of a passage.")]
Offset = Annotated[
    int, Field(ge=0, description="Where in a long text to begin: next_offset of the part before.")
]


class Passage(BaseModel):
    document_id: str
    index_version: str
    score: float
    title: str
    text: str
    metadata: dict[str, Any]


class Found(BaseModel):
    """Passages, best first."""

    corpus: str
    index_version: str
    model_version: str
    hits: list[Passage]


class Part(BaseModel):
    """A document, or a part of a long one."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]
    total_chars: int
    next_offset: int | None


class Corpora(BaseModel):
    corpora: list[Corpus]


def serve(url: str, api_key: str | None, *, timeout_s: float) -> None:
    """Serve on stdin and stdout until stdin ends."""

    async def run() -> None:
        async with AsyncClient(url, api_key, timeout_s=timeout_s) as client:
            await mcp_server(client).run_stdio_async()

    # A thread waits for stdin, where no cancellation reaches it; nothing needs an orderly end.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        anyio.run(run)
    finally:
        signal.signal(signal.SIGINT, before)


def mcp_server(client: AsyncClient) -> MCPServer[None]:
    """The tools over one server. A failure of it is told to the agent in words."""
    server: MCPServer[None] = _Server(
        "lockstep", instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING"
    )

    @server.tool(annotations=_READS)
    async def search(
        corpus: CorpusName, query: Query, limit: Limit = 5, filter: Filter = None
    ) -> Annotated[CallToolResult, Found]:
        """Find the passages of a corpus that answer a query best."""
        asked: SearchOptions = {"limit": limit, "filter": filter}
        with _told():
            answer = await client.search(corpus, query, **asked)
        return _result(_found_text(answer), _found(corpus, answer))

    @server.tool(annotations=_READS)
    async def get_document(
        corpus: CorpusName, id: DocumentId, offset: Offset = 0
    ) -> Annotated[CallToolResult, Part]:
        """Read one document; a long one part by part."""
        with _told():
            document = await client.get(corpus, id)
        part = _part(document, offset)
        return _result(_part_text(part), part)

    @server.tool(annotations=_READS)
    async def list_corpora() -> Annotated[CallToolResult, Corpora]:
        """List the corpora that can be searched."""
        with _told():
            corpora = await client.corpora()
        return _result(_corpora_text(corpora), Corpora(corpora=corpora))

    return server


class _Server(MCPServer[None]):
    """Tells an agent what is wrong with its arguments in words, and not in pydantic's report."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Any = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_wrong(name, error.__cause__)) from error.__cause__
            raise


def _wrong(tool: str, error: ValidationError) -> str:
    told = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}, given {repr(one['input'])[:80]}."
        for one in error.errors(include_url=False)
    ]
    return f"The arguments of {tool} cannot be used. {' '.join(told)}"


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except LockstepError as error:
        raise ToolError(str(error)) from error


def _result(text: str, structured: BaseModel) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content=structured.model_dump(mode="json"),
    )


def _found(corpus: str, answer: SearchResponse) -> Found:
    return Found(
        corpus=corpus,
        index_version=answer.index_version,
        model_version=answer.model_version,
        hits=[
            Passage(
                document_id=hit.document_id,
                index_version=answer.version_of(hit),
                score=hit.score,
                title=hit.title,
                text=_shortened(hit.text),
                metadata=hit.metadata,
            )
            for hit in answer.hits
        ],
    )


def _found_text(answer: SearchResponse) -> str:
    if not answer.hits:
        return f"Nothing was found in {answer.index_version}."
    return "\n\n".join(
        f"[{hit.document_id}] {hit.title} (score {hit.score:.4g}, {answer.version_of(hit)})\n"
        f"{_shortened(hit.text)}"
        for hit in answer.hits
    )


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_PASSAGE_CHARS else text[: MAX_PASSAGE_CHARS - 1] + "…"


def _part(document: Document, offset: int) -> Part:
    end, total = offset + MAX_DOCUMENT_CHARS, len(document.text)
    return Part(
        id=document.id,
        title=document.title,
        text=document.text[offset:end],
        metadata=document.metadata,
        total_chars=total,
        next_offset=end if end < total else None,
    )


def _part_text(part: Part) -> str:
    text = f"[{part.id}] {part.title}\n{part.text}"
    if part.next_offset is None:
        return text
    return f"{text}\n(It goes on: offset={part.next_offset} of {part.total_chars} characters.)"


def _corpora_text(corpora: list[Corpus]) -> str:
    if not corpora:
        return "There are no corpora."
    return "\n".join(
        f"{corpus.name}: {corpus.documents:,} documents, "
        + (f"live {corpus.live}" if corpus.live else "nothing live yet, cannot be searched")
        for corpus in corpora
    )
