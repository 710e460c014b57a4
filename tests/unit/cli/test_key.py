"""`lockstep key`: a key is shown once, listed without its secret, and ended."""

import re
from pathlib import Path

import pytest

from .conftest import Cli, run

FILTER = '{"must": [{"key": "lang", "match": {"value": "en"}}]}'


@pytest.fixture
def keys(tmp_path: Path) -> Cli:
    """Commands on an empty workspace: keys need nothing that is built."""
    root = tmp_path / "workspace"
    assert run("init", root).code == 0
    return lambda *arguments: run("-w", root, *arguments)


def test_a_key_is_shown_once_and_only_once(keys: Cli) -> None:
    made = keys("key", "create", "shop", "--scope", "search", "--corpus", "docs", "--rate", "5")
    assert made.code == 0, made.err
    (presented,) = re.findall(r"lsk_[0-9a-f]{12}_[0-9a-f]{64}", made.out)
    assert "There is no corpus 'docs' yet" in made.out

    listed = keys("key", "list")
    assert presented[:16] not in listed.out
    assert "shop" in listed.out
    assert "5 requests/s" in listed.out
    secret = presented.rpartition("_")[2]
    assert secret not in listed.out + keys("key", "list", "--json").out


def test_json_holds_all_of_it(keys: Cli) -> None:
    made = keys("key", "create", "t", "--scope", "search", "--filter", FILTER, "--json").json
    assert made.pop("key").startswith(f"lsk_{made['id']}_")
    (listed,) = keys("key", "list", "--json").json["keys"]
    assert listed == made
    assert (made["scopes"], made["filter"]["must"][0]["key"]) == (["search"], "lang")


def test_a_revoked_key_is_listed_where_asked_for(keys: Cli) -> None:
    keys("key", "create", "shop", "--scope", "write", "--scope", "search")
    assert "within two seconds" in keys("key", "revoke", "shop").out
    assert "No key is in use" in keys("key", "list").out
    (gone,) = keys("key", "list", "--all", "--json").json["keys"]
    assert gone["revoked_at"] is not None
    again = keys("key", "revoke", "shop")
    assert (again.code, "No key in use is named 'shop'" in again.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("shop",), 2, "--scope"),
        (("shop", "--scope", "root"), 2, "'root' is no scope; expected one of search, write"),
        (("shop", "--scope", "write", "--filter", FILTER), 1, "scope search alone"),
        (("shop", "--scope", "search", "--filter", "{}"), 1, "has no condition"),
        (("shop", "--scope", "search", "--filter", "{"), 2, "It is not JSON"),
        (("shop", "--scope", "search", "--filter", '{"must": [1]}'), 1, "at must[0]"),
        (("shop", "--scope", "search", "--corpus", "A B"), 1, "cannot name a corpus"),
        (("Shop", "--scope", "search"), 1, "cannot be the name of a key"),
        (("local", "--scope", "search"), 1, "for commands"),
    ],
)
def test_a_key_that_cannot_be_meant_is_refused(
    keys: Cli, arguments: tuple[str, ...], code: int, says: str
) -> None:
    refused = keys("key", "create", *arguments)
    assert refused.code == code
    assert says in " ".join(refused.err.split())
    assert keys("key", "list", "--json").json == {"keys": []}


def test_a_name_in_use_is_refused(keys: Cli) -> None:
    keys("key", "create", "shop", "--scope", "search")
    again = keys("key", "create", "shop", "--scope", "search")
    assert again.code == 1
    assert "lockstep key revoke shop" in again.err


def test_commands_leave_audit_lines_in_the_file_that_is_named(keys: Cli, tmp_path: Path) -> None:
    path = tmp_path / "workspace" / "lockstep.toml"
    path.write_text('[security]\naudit_path = "audit.log"\n')
    keys("key", "create", "shop", "--scope", "admin")
    keys("key", "revoke", "shop")
    lines = (tmp_path / "workspace" / "audit.log").read_text().splitlines()
    assert len(lines) == 2
    assert '"action": "key create"' in lines[0]
    assert '"action": "key revoke"' in lines[1]
    assert "lsk_" not in "".join(lines)
