"""The model registry: names and numbers for the model versions that were added."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select

from lockstep.corpus.database import Database
from lockstep.corpus.schema import model_versions
from lockstep.errors import InvalidSetting, ModelNotFound, WrongModelKind
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.examination import examine
from lockstep.models.manifest import Json, ModelKind, ModelManifest, canonical_json
from lockstep.models.query_compiler import QueryCompiler
from lockstep.models.source import locate, take
from lockstep.models.verification import Choices

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_VERSION = re.compile(r"(?P<name>[^@]+)@(?P<version>[0-9]{1,9})")
_DIGEST_PREFIX = re.compile(r"[0-9a-f]{7,64}")


_GLOSS = {
    ModelKind.ENCODER: "an encoder, which gives vectors of texts",
    ModelKind.RERANKER: "a reranker, which scores a query and a passage together",
    ModelKind.LATE_INTERACTION: "a late interaction model, which gives a vector of each token",
}


@dataclass(frozen=True)
class ModelVersion:
    """A registered model version. `created` is True on the one that `add` has just registered."""

    name: str
    version: int
    digest: str
    manifest: ModelManifest
    created_at: float  # seconds since 1970
    created: bool = field(default=False, compare=False)

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def kind(self) -> ModelKind:
        return self.manifest.kind

    def require(self, kind: ModelKind) -> None:
        """Raise WrongModelKind where it is of another kind."""
        if self.kind is not kind:
            raise WrongModelKind(
                f"{self.ref} is {_GLOSS[self.kind]}; expected {_GLOSS[kind]}.",
                next_step="See what there is: lockstep model list",
            )


class ModelRegistry:
    """Adds model versions and finds them; any number of processes may do so at once."""

    def __init__(
        self,
        database: Database,
        artefacts: ArtefactStore,
        compiler: QueryCompiler | None = None,
    ) -> None:
        self._database = database
        self._artefacts = artefacts
        self._compiler = compiler

    def add(
        self,
        name: str,
        source: str | Path,
        *,
        matryoshka_dims: Sequence[int] | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        max_tokens: int | None = None,
        lineage: Json | None = None,
    ) -> ModelVersion:
        """Copy, check and register a model folder or hub id as the name's next version.

        What is None is taken from the model's files. The same encoder under the same name is the
        version it already was, with `created` False; a damaged artefact of it is repaired.
        Raises ModelRejected, InvalidSetting, HubUnavailable, StorageFull or ArtefactsUnavailable.
        """
        check_name(name)
        choices = Choices(
            matryoshka_dims=matryoshka_dims,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            max_tokens=max_tokens,
            lineage=lineage if lineage is not None else {"source": str(source)},
        )
        folder = locate(source)
        with self._artefacts.staging() as staged:
            files = staged / "files"
            files.mkdir()
            taken = take(folder, files)
            manifest = self._compiled(files, examine(files, taken, choices))
            self._artefacts.publish(files, manifest)
        return self._register(name, manifest)

    def resolve(self, ref: str) -> ModelVersion:
        """The version that `name@version`, `name` (its newest) or a digest's beginning names.

        Raises ModelNotFound.
        """
        if numbered := _VERSION.fullmatch(ref):
            return self.get(numbered["name"], int(numbered["version"]))
        if named := self.list(ref):
            return named[-1]
        versions = self.list()
        if _DIGEST_PREFIX.fullmatch(ref):
            matching = {each.digest: each for each in versions if each.digest.startswith(ref)}
            if len(matching) == 1:
                return next(iter(matching.values()))
        raise _not_found(ref, versions)

    def list(self, name: str | None = None) -> list[ModelVersion]:
        """Every version, or those of one name, by name and number."""
        query = select(model_versions).order_by(model_versions.c.name, model_versions.c.version)
        if name is not None:
            query = query.where(model_versions.c.name == name)
        with self._database.reading() as connection:
            return [_version(row) for row in connection.execute(query)]

    def get(self, name: str, version: int) -> ModelVersion:
        """Raises ModelNotFound."""
        query = select(model_versions).where(
            model_versions.c.name == name, model_versions.c.version == version
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise _not_found(f"{name}@{version}", self.list())
        return _version(row)

    def _compiled(self, files: Path, manifest: ModelManifest) -> ModelManifest:
        """The manifest with what came of compiling the model for queries."""
        if self._compiler is None or manifest.kind is ModelKind.LATE_INTERACTION:
            return manifest
        report = self._compiler.register(files, manifest)
        return replace(manifest, query_encoder=report.to_json())

    def _register(self, name: str, manifest: ModelManifest) -> ModelVersion:
        """Take the name's next number; another process that takes it first makes this one retry."""
        while True:
            with self._database.writing() as connection:
                known = _find(connection, name, manifest.digest)
                added = known or self._insert(connection, name, manifest)
            if added is not None:
                return added

    def _insert(
        self, connection: Connection, name: str, manifest: ModelManifest
    ) -> ModelVersion | None:
        newest = select(func.max(model_versions.c.version)).where(model_versions.c.name == name)
        version = ModelVersion(
            name=name,
            version=(connection.scalar(newest) or 0) + 1,
            digest=manifest.digest,
            manifest=manifest,
            created_at=time.time(),
        )
        inserted = connection.execute(
            self._database.insert(model_versions)
            .values(
                name=version.name,
                version=version.version,
                digest=version.digest,
                manifest=canonical_json(manifest.to_json()),
                created_at=version.created_at,
            )
            .on_conflict_do_nothing()
        )
        return replace(version, created=True) if inserted.rowcount else None


def _find(connection: Connection, name: str, digest: str) -> ModelVersion | None:
    row = connection.execute(
        select(model_versions)
        .where(model_versions.c.name == name, model_versions.c.digest == digest)
        .order_by(model_versions.c.version)
        .limit(1)
    ).one_or_none()
    return None if row is None else _version(row)


def _version(row: Row[Any]) -> ModelVersion:
    return ModelVersion(
        name=row.name,
        version=row.version,
        digest=row.digest,
        manifest=ModelManifest.from_json(json.loads(row.manifest)),
        created_at=row.created_at,
    )


def check_name(name: str) -> None:
    """Raise InvalidSetting for what cannot name a model."""
    if not _NAME.fullmatch(name):
        raise InvalidSetting(
            f"'{name}' is no model name; expected 1 to 63 of a-z, 0-9, dot, dash and underscore, "
            "beginning with a letter or digit."
        )


def _not_found(ref: str, versions: Sequence[ModelVersion]) -> ModelNotFound:
    matching = [version for version in versions if version.digest.startswith(ref)]
    if len({version.digest for version in matching}) > 1:
        return ModelNotFound(
            f"'{ref}' is the beginning of {len(matching)} digests.",
            next_step=f"Name one of: {', '.join(version.ref for version in matching)}.",
        )
    known = ", ".join(version.ref for version in versions[-20:]) or "none"
    return ModelNotFound(
        f"No model version is '{ref}'. Known: {known}.",
        next_step="Add one: `lockstep model add NAME PATH`.",
    )
