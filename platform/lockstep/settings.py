"""Settings: read once, from lockstep.toml and the environment, and passed down."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from lockstep.errors import InvalidSetting

Share = Annotated[float, Field(ge=0, le=1)]
# A web page's, as browsers send it: no path, and no "*", which would be every page there is.
Origin = Annotated[str, Field(pattern=r"^https?://[^/?#@*\s]+$")]
# As a request's Host names it, without the port; "*" would be every name there is.
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]

CONFIG_NAME = "lockstep.toml"
DATA_NAME = ".lockstep"

TEMPLATE = """\
# A Lockstep workspace. Every key may also come from the environment: LOCKSTEP_STORE_URL=...
# What is commented out shows its default.

# Where documents and the catalog live. PostgreSQL: "postgresql+psycopg://user@host/name"
# database_url = "sqlite:///.lockstep/lockstep.db"

# The vector store. Empty: the embedded engine, in .lockstep/index. A server: "http://host:6333"
# store_url = ""
# store_grpc_port = 6334      # 0: everything over HTTP
# store_timeout_s = 60       # for builds; searches have search_timeout_s
# store_shards = 1           # of each collection; a cluster spreads them over its nodes
# store_replicas = 1         # copies of each shard
# store_write_consistency = 1  # copies that must have a write before it counts
# store_on_disk = false      # vectors and payloads are read from disk instead of held in memory
# store_api_key = "..."     # better in the environment: LOCKSTEP_STORE_API_KEY

# Where model versions are kept: a folder, or anything that fsspec knows ("s3://bucket/models").
# artefacts_url = ".lockstep/models"

# Where models run: "cpu", "cuda", "mps". Empty: the best there is.
# device = ""

# What encodes queries. "auto": on a CPU a compiled form of the model, if its vectors agree with
# torch's, on a GPU torch. "torch": nothing is compiled.
# query_encoder = "auto"
# query_cache = 1024         # vectors of the last queries that each model keeps; 0: none
# query_batch = 16           # queries of callers at the same time that are encoded together

# A language model that writes questions to train with: the address of an API like OpenAI's.
# chat_url = ""               # "https://host/v1"
# chat_model = ""
# chat_api_key = "..."      # better in the environment: LOCKSTEP_CHAT_API_KEY

# How many passages a model sees at once, and after how many documents a build can be resumed.
# encode_batch = 32
# batch_documents = 256

# How much disk may hold the tokens of documents, which the next model version with the same
# tokenizer need not make again; a million passages of 250 tokens take about 0.6 GB. 0: none kept.
# token_cache_gb = 4.0

# How long a search may take, retries included, before it fails with 503.
# search_timeout_s = 5.0

# How many searches a server works on at once, and how long one may have to wait for its turn;
# what would wait longer is refused at once, with 503.
# search_places = 32
# search_wait_s = 1.0

# How long a retired version stays ready for a rollback before `lockstep gc` may drop it.
# soak_hours = 24.0

# The longest document that is taken.
# max_document_bytes = 1048576

# Where `lockstep serve` listens. What others can reach asks for API keys: lockstep key create
# host = "127.0.0.1"
# port = 7333
# workers = 1                # processes; several need a Qdrant server. Each has places of its own

# Log lines of the server: "text" for people, "json" for machines.
# log_format = "text"

# What a candidate must show before it is promoted; `latency = false` turns that gate off.
# [gates]
# completeness = true        # every document and passage is there, by id and content hash
# identity = true            # sampled passages, encoded again, agree with what is stored
# identity_samples = 1000    # 1 % of stale vectors escapes 1,000 samples 4 times in 100,000
# health = true              # the engine is ready, and finds what an exact search finds
# min_recall = 0.95          # recall@10 of the search index against exact search
# quality = true             # judged queries (lockstep qrels import), or titles and first sentences
# margin = 0.01              # how much nDCG@10 may be lost: the interval's lower end
# known_item_margin = 0.05   # the same where there are no judgments
# require_better = false     # the interval must lie above zero
# drift = true               # how much the answers change; flagged, never failed
# min_overlap = 0.5          # RBO below this is flagged
# latency = true             # p95 beside the live version's, on the same queries in turn
# max_latency_ratio = 1.25   # and at least latency_slack_ms slower
# latency_slack_ms = 5.0
# prefilter = true           # share of the full top 10 that the prefilter keeps
# min_prefilter_kept = 0.95
# queries = 200              # sampled for health, drift, latency and prefilter

# Searches as they come, to judge versions by. Off by default.
# [query_log]
# share = 0.0                # of searches that are kept: 0 to 1
# redact = false             # keep a digest of the query instead of its words
# days = 30                  # older ones are deleted
# key_path = ""              # for redact; empty: .lockstep/query_log.key; servers must share it

# Who may ask the server for what: lockstep key create
# [security]
# require_key = "auto"       # if there is a key, or others can reach the host; or true, or false
# open_metrics = false       # whether /metrics answers without a key
# rate_per_s = 0.0           # requests of each key and worker; 0: no limit. A key may have its own
# rate_burst_s = 2.0         # how many seconds' worth of them may come at once
# cors_origins = []          # web pages that may ask: ["https://shop.example"]
# trusted_hosts = []         # more names of a server that asks for no key: ["search.internal"]
# audit_path = ""            # a file that the audit lines of servers and commands are added to
"""


class GateSettings(BaseModel):
    """What a candidate must show before it is promoted; TEMPLATE says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    completeness: bool = True
    identity: bool = True
    identity_samples: Annotated[int, Field(ge=1)] = 1000
    health: bool = True
    min_recall: Share = 0.95
    quality: bool = True
    margin: Share = 0.01
    known_item_margin: Share = 0.05
    require_better: bool = False
    drift: bool = True
    min_overlap: Share = 0.5
    latency: bool = True
    max_latency_ratio: Annotated[float, Field(ge=1)] = 1.25
    latency_slack_ms: Annotated[float, Field(ge=0)] = 5.0
    prefilter: bool = True
    min_prefilter_kept: Share = 0.95
    queries: Annotated[int, Field(ge=10, le=10_000)] = 200


class QueryLogSettings(BaseModel):
    """Which searches are kept, how, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: Share = 0.0
    redact: bool = False
    days: Annotated[float, Field(gt=0)] = 30
    key_path: str = ""


class SecuritySettings(BaseModel):
    """Who may ask the server for what; TEMPLATE says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    require_key: bool | Literal["auto"] = "auto"
    open_metrics: bool = False
    rate_per_s: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    rate_burst_s: Annotated[float, Field(gt=0, le=3600)] = 2.0
    cors_origins: tuple[Origin, ...] = ()
    trusted_hosts: tuple[HostName, ...] = ()
    audit_path: str = ""


class Settings(BaseSettings):
    """One workspace's settings. Units are in the names."""

    model_config = SettingsConfigDict(
        env_prefix="LOCKSTEP_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    root: Path
    database_url: str = f"sqlite:///{DATA_NAME}/lockstep.db"
    store_url: str = ""
    store_api_key: SecretStr | None = None
    store_grpc_port: Annotated[int, Field(ge=0, le=65_535)] = 6334
    store_timeout_s: Annotated[int, Field(ge=1, le=3600)] = 60
    store_shards: Annotated[int, Field(ge=1)] = 1
    store_replicas: Annotated[int, Field(ge=1)] = 1
    store_write_consistency: Annotated[int, Field(ge=1)] = 1
    store_on_disk: bool = False
    artefacts_url: str = f"{DATA_NAME}/models"
    device: str = ""
    query_encoder: Literal["auto", "torch"] = "auto"
    query_cache: Annotated[int, Field(ge=0, le=1_000_000)] = 1024
    query_batch: Annotated[int, Field(ge=1, le=256)] = 16
    chat_url: str = ""
    chat_model: str = ""
    chat_api_key: SecretStr | None = None
    encode_batch: Annotated[int, Field(ge=1, le=65_536)] = 32
    batch_documents: Annotated[int, Field(ge=1, le=100_000)] = 256
    token_cache_gb: Annotated[float, Field(ge=0, le=100_000)] = 4.0
    search_timeout_s: Annotated[float, Field(gt=0, le=600)] = 5.0
    search_places: Annotated[int, Field(ge=1, le=1024)] = 32
    search_wait_s: Annotated[float, Field(ge=0, le=600)] = 1.0
    soak_hours: Annotated[float, Field(ge=0)] = 24.0
    max_document_bytes: Annotated[int, Field(ge=1024)] = 1 << 20
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 7333
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    gates: GateSettings = GateSettings()
    log_format: Literal["text", "json"] = "text"
    query_log: QueryLogSettings = QueryLogSettings()
    security: SecuritySettings = SecuritySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def data(self) -> Path:
        """Where the embedded parts keep their files."""
        return self.root / DATA_NAME

    def resolved_database_url(self) -> str:
        """The database's URL, a relative SQLite path taken from the workspace."""
        prefix = "sqlite:///"
        if not self.database_url.startswith(prefix):
            return self.database_url
        return prefix + str(self.root / self.database_url.removeprefix(prefix))

    def resolved_artefacts_url(self) -> str:
        """The artefacts' URL, a relative path taken from the workspace."""
        if "://" in self.artefacts_url:
            return self.artefacts_url
        return str(self.root / self.artefacts_url)

    def resolved_query_log_key(self) -> Path:
        """The file of the query log's key, a relative path taken from the workspace."""
        return self.root / (self.query_log.key_path or f"{DATA_NAME}/query_log.key")

    def resolved_local_key(self) -> Path | None:
        """Where an embedded server lays a key for the commands beside it; None without one."""
        return None if self.store_url else self.data / "local.key"

    def resolved_audit_path(self) -> Path | None:
        """The file of the audit lines, a relative path taken from the workspace."""
        return self.root / self.security.audit_path if self.security.audit_path else None


def load_settings(root: Path) -> Settings:
    """Read a workspace's settings; the environment goes before the file.

    Raises InvalidSetting naming key and value, or where the folder is no workspace.
    """
    config = root / CONFIG_NAME
    if not config.is_file():
        raise InvalidSetting(
            f"'{root}' is no Lockstep workspace: it has no {CONFIG_NAME}.",
            next_step="Make it one: lockstep init",
        )

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        loaded = FromFile(root=root)
    except ValidationError as error:
        raise InvalidSetting(_first_problem(error, config)) from error
    except ValueError as error:  # tomllib.TOMLDecodeError
        raise InvalidSetting(f"{config} is not TOML: {error}.") from error
    return Settings.model_construct(**dict(loaded))


def find_workspace(start: Path) -> Path:
    """The nearest folder upward from `start` that holds a lockstep.toml."""
    for folder in (start, *start.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise InvalidSetting(
        f"No Lockstep workspace here: neither '{start}' nor a folder above it has {CONFIG_NAME}.",
        next_step="Make one: lockstep init",
    )


def init_workspace(root: Path) -> bool:
    """Write a commented lockstep.toml and the data folder; False where it was there already."""
    (root / DATA_NAME).mkdir(parents=True, exist_ok=True)
    config = root / CONFIG_NAME
    if config.exists():
        return False
    config.write_text(TEMPLATE, encoding="utf-8")
    return True


def _first_problem(error: ValidationError, config: Path) -> str:
    problem: Any = error.errors()[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"{config} has the unknown key '{key}'."
    if key in _MAY_HOLD_SECRETS:
        return f"Setting '{key}' has a value of type {type(problem['input']).__name__}: " + (
            f"{problem['msg']}."
        )
    return f"Setting '{key}' has value {problem['input']!r}: {problem['msg']}."


_MAY_HOLD_SECRETS = frozenset(
    {"database_url", "store_url", "store_api_key", "chat_url", "chat_api_key"}
)
