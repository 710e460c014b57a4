"""A stand-in for a Qdrant server: the part of its REST API that Lockstep calls, in a process.

It is no Qdrant. Inside works the official client's in-memory mode, so calls, filters, aliases and
conditional upserts are real, while indexing, quantization, sharding and gRPC are not: it is always
green. What it acknowledged survives `kill`, by a journal that the next start replays.

    with running_stand_in() as server:
        QdrantClient(url=server.url)          # any number of processes; HTTP only
        server.kill(); server.start()         # the same port, the same points
        server.pause(); server.resume()       # frozen: it accepts and does not answer
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from qdrant_client import QdrantClient, models
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class StandIn:
    """The stand-in's process. `url` stays the same over `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self._journal = folder / "journal.jsonl"
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start, or start again with everything that was acknowledged; returns when it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(self._journal), str(self._port)],
            stdin=subprocess.PIPE,  # it ends when this closes, so never outlives the tests
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            raise RuntimeError(f"the stand-in ended with {self._process.wait()}")
        self._port = int(said)

    def kill(self) -> None:
        """Kill -9. What it had acknowledged is there at the next start."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def pause(self) -> None:
        """Freeze it: connections are accepted, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def running_stand_in(folder: Path | None = None) -> Iterator[StandIn]:
    """A stand-in on a free port; `folder` keeps its journal, by default until the block ends."""
    with tempfile.TemporaryDirectory(prefix="lockstep-stand-in-") as temporary:
        server = StandIn(folder or Path(temporary))
        try:
            yield server
        finally:
            server.kill()


Operation = Callable[["_Engine", str, Any], Any]


class _Engine:
    """The in-memory client, with what it forgets of a collection's configuration."""

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:")
        self.created: dict[str, models.CreateCollection] = {}

    def info(self, name: str) -> models.CollectionInfo:
        info, created = self.client.get_collection(name), self.created[name]
        kept = ("shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload")
        params = info.config.params.model_copy(
            update={key: getattr(created, key) for key in kept if getattr(created, key) is not None}
        )
        optimizers = info.config.optimizer_config.model_copy(
            update=_given(created.optimizers_config)
        )
        config = info.config.model_copy(update={"params": params, "optimizer_config": optimizers})
        return info.model_copy(update={"config": config})

    def create(self, name: str, asked: models.CreateCollection) -> bool:
        done = self.client.create_collection(
            name,
            vectors_config=asked.vectors,
            sparse_vectors_config=asked.sparse_vectors,
            metadata=asked.metadata,
        )
        self.created[name] = asked
        return done

    def update(self, name: str, asked: models.UpdateCollection) -> bool:
        self.client.update_collection(name, metadata=asked.metadata)
        created = self.created[name]
        changed = _given(created.optimizers_config) | _given(asked.optimizers_config)
        self.created[name] = created.model_copy(
            update={"optimizers_config": models.OptimizersConfigDiff(**changed)}
        )
        return True

    def upsert(self, name: str, asked: models.PointsBatch | models.PointsList) -> Any:
        points = asked.batch if isinstance(asked, models.PointsBatch) else asked.points
        return self.client.upsert(name, points, update_filter=asked.update_filter)

    def scroll(self, name: str, asked: models.ScrollRequest) -> models.ScrollResult:
        points, next_id = self.client.scroll(
            name,
            scroll_filter=asked.filter,
            limit=asked.limit or 10,
            offset=asked.offset,
            with_payload=True if asked.with_payload is None else asked.with_payload,
            with_vectors=asked.with_vector or False,
        )
        return models.ScrollResult(points=points, next_page_offset=next_id)

    def retrieve(self, name: str, asked: models.PointRequest) -> Any:
        return self.client.retrieve(
            name,
            asked.ids,
            with_payload=True if asked.with_payload is None else asked.with_payload,
            with_vectors=asked.with_vector or False,
        )


def _given(diff: models.OptimizersConfigDiff | None) -> dict[str, Any]:
    return {} if diff is None else diff.model_dump(exclude_none=True)


# Method and path; what its body is; what it does; whether it changes anything.
_CALLS: list[tuple[str, str, Any, Operation, bool]] = [
    ("GET", "/", None, lambda e, _, __: e.client.info(), False),
    ("GET", "/collections", None, lambda e, _, __: e.client.get_collections(), False),
    ("GET", "/collections/{name}", None, lambda e, n, _: e.info(n), False),
    ("PUT", "/collections/{name}", models.CreateCollection, _Engine.create, True),
    ("PATCH", "/collections/{name}", models.UpdateCollection, _Engine.update, True),
    ("DELETE", "/collections/{name}", None, lambda e, n, _: e.client.delete_collection(n), True),
    ("GET", "/aliases", None, lambda e, _, __: e.client.get_aliases(), False),
    (
        "POST",
        "/collections/aliases",
        models.ChangeAliasesOperation,
        lambda e, _, body: e.client.update_collection_aliases(body.actions),
        True,
    ),
    (
        "PUT",
        "/collections/{name}/index",
        models.CreateFieldIndex,
        lambda e, n, body: e.client.create_payload_index(n, body.field_name, body.field_schema),
        True,
    ),
    ("PUT", "/collections/{name}/points", models.PointInsertOperations, _Engine.upsert, True),
    ("POST", "/collections/{name}/points", models.PointRequest, _Engine.retrieve, False),
    (
        "POST",
        "/collections/{name}/points/delete",
        models.PointsSelector,
        lambda e, n, body: e.client.delete(n, body),
        True,
    ),
    (
        "POST",
        "/collections/{name}/points/count",
        models.CountRequest,
        lambda e, n, body: e.client.count(n, count_filter=body.filter, exact=True),
        False,
    ),
    (
        "POST",
        "/collections/{name}/facet",
        models.FacetRequest,
        lambda e, n, body: e.client.facet(n, body.key, body.filter, body.limit or 10),
        False,
    ),
    ("POST", "/collections/{name}/points/scroll", models.ScrollRequest, _Engine.scroll, False),
    (
        "POST",
        "/collections/{name}/points/query/batch",
        models.QueryRequestBatch,
        lambda e, n, body: e.client.query_batch_points(n, body.searches),
        False,
    ),
]


class _Server:
    """Answers one call at a time, and keeps the journal."""

    def __init__(self, journal: Path) -> None:
        self._engine = _Engine()
        self._lock = threading.Lock()
        if journal.exists():
            for line in journal.read_text().splitlines():
                number, name, body = json.loads(line)
                self._do(number, name, body.encode())
        self._journal = journal.open("a", encoding="utf-8")

    def app(self) -> Starlette:
        routes = [
            Route(path, self._endpoint(number), methods=[method])
            for number, (method, path, *_) in enumerate(_CALLS)
        ]
        # The path of the aliases would also be that of a collection of this name.
        routes.sort(key=lambda route: "{name}" in route.path)
        return Starlette(routes=routes)

    def _endpoint(self, number: int) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            name = request.path_params.get("name", "")
            return await run_in_threadpool(self._answer, number, name, body)

        return endpoint

    def _answer(self, number: int, name: str, body: bytes) -> Response:
        writes = _CALLS[number][4]
        try:
            with self._lock:
                result = self._do(number, name, body)
                if writes:  # before it is acknowledged
                    self._journal.write(json.dumps([number, name, body.decode()]) + "\n")
                    self._journal.flush()
        except (ValueError, ValidationError) as error:
            return _failed(str(error))
        bare = isinstance(result, models.VersionInfo)
        return _json(200, result if bare else {"result": result, "status": "ok", "time": 0.0})

    def _do(self, number: int, name: str, body: bytes) -> Any:
        _, _, kind, operation, _ = _CALLS[number]
        # Reads go by alias too, as on a server; the client resolves it.
        asked = None if kind is None else TypeAdapter(kind).validate_json(body)
        return operation(self._engine, name, asked)


def _failed(text: str) -> Response:
    status = 400
    if "already exists" in text:
        status = 409
    elif "not found" in text:
        status = 404
    return _json(status, {"status": {"error": text}, "time": 0.0})


def _json(status: int, body: Any) -> Response:
    return Response(to_json(body), status, media_type="application/json")


def _serve(journal: Path, port: int) -> None:
    app = _Server(journal).app()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(512)
        print(listening.getsockname()[1], flush=True)  # noqa: T201  # this is what `start` waits for
        threading.Thread(target=_end_with_parent, daemon=True).start()
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
