"""`gc` drops the cached tokens that nothing can ask for again."""

import json
from pathlib import Path

from lockstep.corpus.documents import Document
from lockstep.settings import load_settings
from lockstep_indexer.encode.token_cache import TokenCache, folder_of
from lockstep_indexer.encode.token_families import Family

from .conftest import Cli, write_documents


def _fill(root: Path, model: str) -> None:
    """Tokens of the corpus's 40 documents and of 100 others, for this model and one of before."""
    rows = map(json.loads, write_documents(root / "rows.jsonl", 40).read_text().splitlines())
    known = [Document(row["id"], row["text"], row["title"], row["metadata"]) for row in rows]
    unknown = [Document(f"gone {n}", f"gone {n}") for n in range(100)]
    records = {document.content_hash: b"record" * 100 for document in known + unknown}
    with TokenCache(folder_of(load_settings(root)), 1 << 30, spare_bytes=0) as cache:
        cache.put(Family("of this model", model), records)
        cache.put(Family("of no model", "digest of no model"), records)


def test_gc_drops_the_tokens_of_no_document_and_of_no_model(cli: Cli, root: Path) -> None:
    assert cli("gc", "docs", "--json").json["token_cache"]["freed_bytes"] == 0
    _fill(root, cli("model", "list", "--json").json["models"][0]["digest"])
    would = cli("gc", "docs", "--dry-run", "--json").json["token_cache"]
    assert (would["families"], would["documents"]) == (1, 100)
    assert would["freed_bytes"] > 100_000
    assert "Would drop the cached tokens" in cli("gc", "docs", "--dry-run").out
    said = cli("gc", "docs").out
    assert "Dropped the cached tokens of 100 documents and 1 tokenizer" in " ".join(said.split())
    again = cli("gc", "docs", "--json").json["token_cache"]
    assert again == {"families": 0, "documents": 0, "freed_bytes": 0, "damaged": False}


def test_gc_drops_all_of_a_cache_that_is_off(cli: Cli, root: Path) -> None:
    _fill(root, cli("model", "list", "--json").json["models"][0]["digest"])
    config = root / "lockstep.toml"
    config.write_text("token_cache_gb = 0\n" + config.read_text())
    dropped = cli("gc", "docs", "--json").json["token_cache"]
    assert dropped["families"] >= 2
    assert sum(path.stat().st_size for path in folder_of(load_settings(root)).iterdir()) < 50_000


def test_gc_tells_one_story(cli: Cli, root: Path) -> None:
    assert cli("gc", "docs", "--dry-run").out.split("! ")[1:] == ["Would drop nothing.\n"]
    assert cli("gc", "docs").out == "✓ Dropped nothing\n"
    _fill(root, cli("model", "list", "--json").json["models"][0]["digest"])
    would = " ".join(cli("gc", "docs", "--dry-run").out.split())
    assert "nothing." not in would
    assert would.endswith("Nothing has changed.")
    assert "Dropped nothing" not in cli("gc", "docs").out


def test_gc_counts_only_what_there_is(cli: Cli, root: Path) -> None:
    digest = cli("model", "list", "--json").json["models"][0]["digest"]
    with TokenCache(folder_of(load_settings(root)), 1 << 30, spare_bytes=0) as cache:
        cache.put(Family("of this model", digest), {Document("x", "x").content_hash: b"r" * 9000})
    said = " ".join(cli("gc", "docs", "--dry-run").out.split())
    assert "the cached tokens of 1 document and free" in said


def test_a_truncated_cache_is_told_by_doctor_and_mended_by_gc(cli: Cli, root: Path) -> None:
    _fill(root, "digest of a model")
    [path] = folder_of(load_settings(root)).glob("*.db")
    assert "✓  token cache" in cli("doctor", "bare").out
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    told = " ".join(cli("doctor", "bare").out.split())
    assert "is damaged" in told
    assert "→ lockstep gc CORPUS" in told
    assert "Would replace the damaged token cache" in cli("gc", "bare", "--dry-run").out
    assert path.exists()
    assert "Replaced the damaged token cache" in cli("gc", "bare").out
    assert not path.exists()
    assert "✓  token cache" in cli("doctor", "bare").out
