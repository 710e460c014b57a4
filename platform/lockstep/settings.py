"""Settings: read once, from lockstep.toml and the environment, and passed down."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from lockstep.errors import InvalidSetting

CONFIG_NAME = "lockstep.toml"
DATA_NAME = ".lockstep"

TEMPLATE = """\
# A Lockstep workspace. Every key may also come from the environment: LOCKSTEP_STORE_URL=...
# What is commented out shows its default.

# Where documents and the catalog live. PostgreSQL: "postgresql+psycopg://user@host/name"
# database_url = "sqlite:///.lockstep/lockstep.db"

# The vector store. Empty: the embedded engine, in .lockstep/index. A server: "http://host:6333"
# store_url = ""
# store_grpc_port = 6334
# store_timeout_s = 60
# store_api_key = "..."     # better in the environment: LOCKSTEP_STORE_API_KEY

# Where model versions are kept: a folder, or anything that fsspec knows ("s3://bucket/models").
# artefacts_url = ".lockstep/models"

# Where models run: "cpu", "cuda", "mps". Empty: the best there is.
# device = ""

# How many passages a model sees at once, and after how many documents a build can be resumed.
# encode_batch = 32
# batch_documents = 256

# The longest document that is taken.
# max_document_bytes = 1048576

# Where `lockstep serve` listens. There are no API keys yet: think before you leave 127.0.0.1.
# host = "127.0.0.1"
# port = 7333
"""


class Settings(BaseSettings):
    """One workspace's settings. Units are in the names."""

    model_config = SettingsConfigDict(env_prefix="LOCKSTEP_", extra="forbid", frozen=True)

    root: Path
    database_url: str = f"sqlite:///{DATA_NAME}/lockstep.db"
    store_url: str = ""
    store_api_key: SecretStr | None = None
    store_grpc_port: Annotated[int, Field(ge=1, le=65_535)] = 6334
    store_timeout_s: Annotated[int, Field(ge=1, le=3600)] = 60
    artefacts_url: str = f"{DATA_NAME}/models"
    device: str = ""
    encode_batch: Annotated[int, Field(ge=1, le=65_536)] = 32
    batch_documents: Annotated[int, Field(ge=1, le=100_000)] = 256
    max_document_bytes: Annotated[int, Field(ge=1024)] = 1 << 20
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 7333

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
    return f"Setting '{key}' has value {problem['input']!r}: {problem['msg']}."
