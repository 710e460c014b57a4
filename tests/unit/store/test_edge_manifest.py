"""The manifest file: what is written is read, and what is damaged is said."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import ManifestDamaged
from lockstep.store.edge_manifest import Entry, Manifest, ManifestFile
from lockstep.store.port import CollectionSchema

ENTRY = Entry("1", CollectionSchema(dense_dim=8, prefilter_dim=4, quantization="int8"), {"a": [1]})


def test_an_absent_manifest_is_empty(tmp_path: Path) -> None:
    assert ManifestFile(tmp_path).read() == Manifest()


def test_what_is_written_is_read_by_another(tmp_path: Path) -> None:
    ManifestFile(tmp_path).change(lambda manifest: manifest.with_entry("docs", ENTRY))
    ManifestFile(tmp_path).change(lambda manifest: manifest.with_alias("live", "docs"))
    assert ManifestFile(tmp_path).read() == Manifest({"docs": ENTRY}, {"live": "docs"})


def test_a_schema_without_payload_indexes_is_written_as_before_there_were_any(
    tmp_path: Path,
) -> None:
    file = ManifestFile(tmp_path)
    indexed = Entry("2", CollectionSchema(8, payload_indexes={"metadata.a": "keyword"}), {})
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY).with_entry("new", indexed))
    assert ManifestFile(tmp_path).read().collections == {"docs": ENTRY, "new": indexed}
    stored = json.loads(file.path.read_bytes())["content"]["collections"]
    assert "payload_indexes" not in stored["docs"]["schema"]
    assert stored["new"]["schema"]["payload_indexes"] == {"metadata.a": "keyword"}


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY))
    before = file.path.read_bytes()
    file.change(lambda manifest: manifest.with_alias("live", "docs"))
    assert file.previous.read_bytes() == before


def test_a_change_of_nothing_writes_nothing(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY))
    stamp = file.path.stat().st_mtime_ns
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY))
    assert file.path.stat().st_mtime_ns == stamp
    assert not file.previous.exists()


def test_a_failing_edit_changes_nothing_and_lets_go_of_the_lock(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    with pytest.raises(ZeroDivisionError):
        file.change(lambda manifest: manifest.with_alias("live", str(1 // 0)))
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY))
    assert ManifestFile(tmp_path).read().aliases == {}


def test_a_reader_sees_the_change_of_another_at_once(tmp_path: Path) -> None:
    reader, writer = ManifestFile(tmp_path), ManifestFile(tmp_path)
    for number in range(50):
        writer.change(lambda manifest, n=number: manifest.with_alias("live", f"v{n}"))  # type: ignore[misc]
        assert reader.read().aliases == {"live": f"v{number}"}


def test_an_unchanged_file_is_parsed_once(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY))
    assert file.read() is file.read()


@given(st.data())
def test_any_change_of_the_bytes_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("root")
    file = ManifestFile(root)
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY))
    whole = file.path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    bad = data.draw(
        st.sampled_from([whole[:at], whole[:at] + b"#" + whole[at + 1 :], whole + whole[:at]])
    )
    file.path.write_bytes(bad)
    try:
        read = ManifestFile(root).read()
    except ManifestDamaged:
        return
    # A white space more or less says the same.
    assert json.loads(bad) == json.loads(whole)
    assert read == Manifest({"docs": ENTRY}, {})


def test_a_newer_format_is_not_guessed_at(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY))
    document = json.loads(file.path.read_text())
    file.path.write_text(json.dumps({**document, "format": 2}))
    with pytest.raises(ManifestDamaged, match="format 2, expected 1"):
        ManifestFile(tmp_path).read()


def test_a_manifest_that_vanished_is_not_an_empty_one(tmp_path: Path) -> None:
    file = ManifestFile(tmp_path)
    file.change(lambda manifest: manifest.with_entry("docs", ENTRY))
    (tmp_path / "collections" / "docs").mkdir(parents=True)
    file.path.unlink()
    with pytest.raises(ManifestDamaged, match="is missing"):
        ManifestFile(tmp_path).read()
