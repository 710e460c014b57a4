"""Trainings that are killed, that fill the disk, or that run twice at once."""

import signal
from pathlib import Path

import pytest
from actions import add_model, fill, fork_server
from training import pairs, run_training, write_pairs
from workspaces import CORPUS, new_root

from lockstep.bootstrap import open_workspace
from lockstep.errors import LeaseHeld, StorageFull
from lockstep_indexer.train import runs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus and model tiny@1."""
    folder = new_root(tmp_path / "workspace")
    with open_workspace(folder) as workspace:
        fill(workspace, CORPUS, range(20))
        add_model(workspace, tmp_path / "tiny", seed=1)
    return folder


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.jsonl", pairs(200))


def _models(root: Path) -> list[str]:
    with open_workspace(root) as workspace:
        return [version.ref for version in workspace.models.list()]


def _left(root: Path) -> list[Path]:
    return list((root / ".lockstep" / runs.FOLDER).iterdir())


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_model(
    root: Path, examples: Path, tmp_path: Path
) -> None:
    process = fork_server().Process(target=run_training, args=(root, CORPUS, examples, 11))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert _models(root) == ["tiny@1"]
    assert [path.name for path in _left(root)[0].glob("checkpoints/checkpoint-*")]

    resumed = run_training(root, CORPUS, examples)

    assert _models(root) == ["ours@1", "tiny@1"]
    assert _left(root) == []
    # The same order, from the start: the version that it was already.
    assert run_training(root, CORPUS, examples) == resumed
    assert _models(root) == ["ours@1", "tiny@1"]


def test_a_full_disk_leaves_no_model_and_the_training_goes_on(
    root: Path, examples: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_disk / "runs").mkdir()
    (root / ".lockstep" / runs.FOLDER).symlink_to(small_disk / "runs")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200 * 2**20 - 2 * 2**20))

    with pytest.raises(StorageFull, match="2 MB are free; nothing was trained"):
        run_training(root, CORPUS, examples)
    with monkeypatch.context() as patch:  # others take the space later
        patch.setattr("lockstep_indexer.train.fine_tune.require_space", lambda *_: None)
        with pytest.raises(StorageFull, match="No space is left"):
            run_training(root, CORPUS, examples)
    assert _models(root) == ["tiny@1"]

    ballast.unlink()
    run_training(root, CORPUS, examples)
    assert _models(root) == ["ours@1", "tiny@1"]


def test_the_same_training_does_not_run_twice_at_once(tmp_path: Path) -> None:
    fields = {"corpus": "docs"}
    with runs.open_run(tmp_path, fields) as run:
        run.remember("base", {"a": 1})
        with (
            pytest.raises(LeaseHeld, match="runs this very training"),
            runs.open_run(tmp_path, fields),
        ):
            pass
        assert run.remembered("base") == {"a": 1}
    assert _left_in(tmp_path) == []


def _left_in(data: Path) -> list[Path]:
    return list((data / runs.FOLDER).iterdir())
