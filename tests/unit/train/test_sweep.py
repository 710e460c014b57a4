"""Trying settings: the best is taken, the hopeless lose, and an interruption repeats none."""

from pathlib import Path
from typing import Any

import pytest
import torch
from training import TINY, pairs

from lockstep.errors import TrainingDiverged
from lockstep.testing import tiny_model
from lockstep_indexer.train.fine_tune import Surroundings
from lockstep_indexer.train.holdout import retrieval_test
from lockstep_indexer.train.lessons import Material
from lockstep_indexer.train.sweep import sweep
from lockstep_indexer.train.trainer import Trainer


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "base")


def _sweep(base: Path, folder: Path, trials: int) -> Any:
    choosing = retrieval_test(pairs(20, seed=2), [], limit=60, seed=1)
    around = Surroundings(device="cpu", choosing=choosing)
    return sweep(base, Material(pairs(64)), folder, TINY, around, trials)


def test_a_trial_that_does_not_fit_loses_and_a_later_run_tries_others(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute: Any = Trainer.compute_loss
    begun: list[int] = []

    def failing(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        if trainer.state.global_step == 0:
            begun.append(trainer.args.per_device_train_batch_size)
        if len(begun) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compute(trainer, *args, **kwargs)

    monkeypatch.setattr(Trainer, "compute_loss", failing)
    _, first = _sweep(base, tmp_path, 2)
    assert len(first["trials"]) == 1

    chosen, found = _sweep(base, tmp_path, 3)

    tried = found["trials"]
    assert len({trial["learning_rate"] for trial in tried}) == len(tried) == 3
    best = max(tried, key=lambda trial: trial["ndcg@10"])
    assert (chosen.learning_rate, chosen.batch_size, chosen.epochs) == (
        best["learning_rate"],
        best["per_device_train_batch_size"],
        best["num_train_epochs"],
    )


def test_trials_of_which_none_ends_say_so(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute: Any = Trainer.compute_loss
    monkeypatch.setattr(
        Trainer, "compute_loss", lambda *args, **kwargs: compute(*args, **kwargs) * float("nan")
    )
    with pytest.raises(TrainingDiverged, match="None of 2 trials"):
        _sweep(base, tmp_path, 2)
