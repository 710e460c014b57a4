"""The library's trainer, and what Lockstep watches while it runs."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from safetensors.torch import load_model, save_model
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.evaluation import BaseEvaluator
from transformers import TrainerCallback

from lockstep_indexer.train.holdout import RetrievalTest
from lockstep_indexer.train.progress import Course, Listener, Progress
from lockstep_indexer.train.recovery import is_out_of_memory

QUALITY = "ndcg@10"
_WEIGHTS = "weights.safetensors"
_WHOLE = "whole"  # a file in a checkpoint that was written to its end


class NotFinite(Exception):
    """The loss of a batch is NaN or infinite."""


class Trainer(SentenceTransformerTrainer):
    """Stops at the first loss that is no number, and takes its rate from the settings."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        if not bool(loss.isfinite().all()):
            raise NotFinite(f"step {self.state.global_step + 1}")
        return loss

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """A checkpoint holds the rate that it was written under; ours may be lower by now."""
        super()._load_optimizer_and_scheduler(checkpoint)
        scheduler: Any = getattr(self.lr_scheduler, "scheduler", self.lr_scheduler)
        if checkpoint is None or scheduler is None:
            return
        scheduler.base_lrs = [self.args.learning_rate for _ in scheduler.base_lrs]
        groups = self.optimizer.param_groups if self.optimizer else []
        for group, factor in zip(groups, scheduler.lr_lambdas, strict=True):
            group["initial_lr"] = self.args.learning_rate
            group["lr"] = self.args.learning_rate * factor(scheduler.last_epoch)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """All weights in one file, adapters among them; a checkpoint is no model to load."""
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, str(folder / _WEIGHTS))

    def _load_from_checkpoint(self, checkpoint_path: str, model: Any = None) -> None:
        load_model(self.model, str(Path(checkpoint_path) / _WEIGHTS), device=str(self.model.device))

    def _load_best_model(self) -> None:
        """The library's own goes on with the last weights where the best cannot be read."""
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))


class Trying(Trainer):
    """For a sweep: settings that cannot be trained with lose, and the next ones are tried."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        from optuna import TrialPruned

        try:
            return super().train(*args, **kwargs)
        except (NotFinite, RuntimeError, MemoryError) as error:
            if not (isinstance(error, NotFinite) or is_out_of_memory(error)):
                raise
            raise TrialPruned(str(error)) from None


class Watching(TrainerCallback):
    """Reports each step, keeps the course, and marks the checkpoints that are whole."""

    def __init__(self, course: Course, listener: Listener) -> None:
        self._course = course
        self._listener = listener
        self._loss: float | None = None
        self._rate: float | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._loss, self._rate = float(logs["loss"]), logs.get("learning_rate")
            if math.isfinite(self._loss):
                self._course.losses.append((state.global_step, self._loss))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        quality = kwargs["metrics"].get(f"eval_{QUALITY}")
        if quality is not None:
            self._course.quality.append((state.global_step, float(quality)))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        quality = self._course.quality[-1][1] if self._course.quality else None
        self._listener.progress(
            Progress(state.global_step, state.max_steps, self._loss, self._rate, quality)
        )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        finite = all(bool(p.isfinite().all()) for p in kwargs["model"].parameters())
        if finite and folder.is_dir():
            (folder / _WHOLE).touch()


class Evaluating(BaseEvaluator):
    """nDCG@10 on pairs that are held out to choose the best step by.

    The mean of the longest and the shortest of `dims`: both are trained, and the few queries there
    are tell more of steps by two figures each.
    """

    def __init__(self, test: RetrievalTest, dims: Sequence[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library's
        self._test = test
        self._dims = sorted({max(dims), min(dims)}) if dims else None
        self.primary_metric = QUALITY

    def __call__(self, model: Any, *_: Any, **__: Any) -> dict[str, float]:
        measured = self._test.measure(model, self._dims)
        return {QUALITY: fmean(float(each.values.mean()) for each in measured)}


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; the rest, such as what a kill cut short, is removed."""
    found = {_step(path): path for path in folder.glob("checkpoint-*")}
    whole = {step: path for step, path in found.items() if (path / _WHOLE).is_file()}
    for step in found.keys() - whole.keys():
        shutil.rmtree(found[step])
    return whole[max(whole)] if whole else None


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
