"""Settings: the template names every key, and the workspace asked for is the one that is opened."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from lockstep.errors import InvalidSetting
from lockstep.settings import (
    TEMPLATE,
    GateSettings,
    QueryLogSettings,
    SecuritySettings,
    Settings,
    init_workspace,
    load_settings,
)


def test_the_template_names_every_key() -> None:
    tables: dict[str, type[BaseModel]] = {
        "gates": GateSettings,
        "query_log": QueryLogSettings,
        "security": SecuritySettings,
    }
    assert [table for table in tables if f"# [{table}]" not in TEMPLATE] == []
    keys = [key for key in Settings.model_fields if key not in ("root", *tables)]
    keys += [key for table in tables.values() for key in table.model_fields]
    assert [key for key in keys if f"# {key} =" not in TEMPLATE] == []


def test_the_template_shows_the_defaults(tmp_path: Path) -> None:
    init_workspace(tmp_path)
    (tmp_path / "lockstep.toml").write_text(
        "\n".join(
            line.removeprefix("# ")
            for line in TEMPLATE.splitlines()
            if re.match(r"# (\[\w+\]$|\w+ = )", line) and "api_key" not in line
        )
    )
    assert load_settings(tmp_path) == Settings(root=tmp_path)


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_workspace(tmp_path)
    (tmp_path / "lockstep.toml").write_text("port = 1\n")
    monkeypatch.setenv("LOCKSTEP_PORT", "2")
    monkeypatch.setenv("LOCKSTEP_ROOT", "elsewhere")
    settings = load_settings(tmp_path)
    assert (settings.port, settings.root) == (2, tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("port = 99999\n", "'port' has value 99999"),
        ("prot = 1\n", "unknown key 'prot'"),
        ("port = \n", "is not TOML"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, content: str, words: str) -> None:
    init_workspace(tmp_path)
    (tmp_path / "lockstep.toml").write_text(content)
    with pytest.raises(InvalidSetting, match=words):
        load_settings(tmp_path)


def test_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="lockstep init"):
        load_settings(tmp_path)


def test_the_source_roots_are_no_packages() -> None:
    root = Path(__file__).parents[2]
    assert not (root / "platform" / "__init__.py").exists()  # it would shadow the standard library
    assert not (root / "indexer" / "__init__.py").exists()


def test_the_key_of_the_query_log_lies_in_the_workspace_or_where_it_is_told(tmp_path: Path) -> None:
    init_workspace(tmp_path)
    assert load_settings(tmp_path).resolved_query_log_key() == tmp_path / ".lockstep/query_log.key"
    for told, expected in (("keys/log", tmp_path / "keys/log"), ("/run/key", Path("/run/key"))):
        (tmp_path / "lockstep.toml").write_text(f'[query_log]\nkey_path = "{told}"\n')
        assert load_settings(tmp_path).resolved_query_log_key() == expected
