"""One attempt at a training, by the library's trainer."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import datasets
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import BatchSamplers
from transformers import EarlyStoppingCallback, PrinterCallback
from transformers.trainer_utils import IntervalStrategy

from lockstep_indexer.train.columns import ANCHOR, text_columns
from lockstep_indexer.train.holdout import RetrievalTest
from lockstep_indexer.train.lessons import Lessons
from lockstep_indexer.train.loading import load_trainable
from lockstep_indexer.train.losses import make_loss
from lockstep_indexer.train.progress import Course
from lockstep_indexer.train.recovery import Attempt
from lockstep_indexer.train.settings import Precision, TrainingSettings
from lockstep_indexer.train.trainer import (
    QUALITY,
    Evaluating,
    Trainer,
    Trying,
    Watching,
    last_checkpoint,
)

if TYPE_CHECKING:
    from lockstep_indexer.train.fine_tune import Surroundings

Load = Callable[[], SentenceTransformer]

# Steps between evaluations, at least: a checkpoint of each is written.
_MIN_STEPS = 10


class Run:
    """Trains a model in place, from the last whole checkpoint on, as an attempt says."""

    def __init__(
        self,
        lessons: Lessons,
        settings: TrainingSettings,
        dims: Sequence[int],
        around: "Surroundings",
        course: Course,
        guide: Path | None = None,
    ) -> None:
        self._lessons = lessons
        self._settings = settings
        self._dims = dims
        self._around = around
        self._course = course
        self._guide = guide
        course.trained_by = {lesson.loss for lesson in lessons.values()}

    def __call__(self, model: SentenceTransformer, attempt: Attempt) -> None:
        folder = self._around.checkpoints
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._train(model, attempt, folder, last_checkpoint(folder))
            return
        with TemporaryDirectory() as scratch:  # nothing is kept
            self._train(model, attempt, Path(scratch), None)

    def _train(
        self, model: SentenceTransformer, attempt: Attempt, folder: Path, last: Path | None
    ) -> None:
        trainer = self.trainer(model, attempt, folder)
        self._course.precision = attempt.precision
        if last is not None:
            self._course.resumed_at = int(last.name.rpartition("-")[2])
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        # With half precision the forward pass was wrapped.
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        # The trainer's own log, which checkpoints hold, goes back to the first step.
        logged = trainer.state.log_history
        self._course.losses = [(int(e["step"]), e["loss"]) for e in logged if "loss" in e]
        measured = f"eval_{QUALITY}"
        self._course.quality = [(int(e["step"]), e[measured]) for e in logged if measured in e]
        self._course.steps = trainer.state.global_step
        self._course.best_step = trainer.state.best_global_step

    def searcher(
        self, load: Load, attempt: Attempt, folder: Path, choosing: RetrievalTest
    ) -> Trainer:
        """A trainer that starts from the base each time, keeps nothing, and is only evaluated."""
        first = load()
        arguments = self._arguments(attempt, folder, first.device)
        for name in ("eval_strategy", "save_strategy"):
            setattr(arguments, name, IntervalStrategy.NO)
        arguments.load_best_model_at_end = False
        losses: dict[str, Any] = {
            name: partial(self._loss, name, attempt=attempt, guide=self._loaded_guide(first))
            for name in self._lessons
        }
        trainer = Trying(
            model_init=load,
            args=arguments,
            train_dataset=self._tables(),
            loss=losses,
            evaluator=Evaluating(choosing, self._dims),
            callbacks=[Watching(Course(attempt.precision), self._around.listener)],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def trainer(self, model: SentenceTransformer, attempt: Attempt, folder: Path) -> Trainer:
        choosing = self._around.choosing
        evaluator = None
        if choosing is not None and self._evaluates:
            evaluator = Evaluating(choosing, self._dims)
        losses = self._losses(model, attempt)
        trainer = Trainer(
            model=model,
            args=self._arguments(attempt, folder, model.device),
            train_dataset=self._tables(),
            loss=losses,
            evaluator=evaluator,
            callbacks=[Watching(self._course, self._around.listener)],
        )
        if evaluator is not None:
            patience = self._settings.patience
            trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=patience))
        trainer.remove_callback(PrinterCallback)  # it prints raw dictionaries
        return trainer

    @property
    def _evaluates(self) -> bool:
        return self._around.choosing is not None and self._around.checkpoints is not None

    def _tables(self) -> datasets.DatasetDict:
        return datasets.DatasetDict({name: each.table for name, each in self._lessons.items()})

    def _losses(self, model: SentenceTransformer, attempt: Attempt) -> dict[str, Any]:
        guide = self._loaded_guide(model)
        return {
            name: self._loss(name, model, attempt=attempt, guide=guide) for name in self._lessons
        }

    def _loss(
        self,
        name: str,
        model: SentenceTransformer,
        *,
        attempt: Attempt,
        guide: SentenceTransformer | None,
    ) -> Any:
        return make_loss(
            model,
            attempt.loss(self._lessons[name].loss),
            dims=self._dims,
            micro_batch=attempt.micro_batch,
            guide=guide,
        )

    def _loaded_guide(self, model: SentenceTransformer) -> SentenceTransformer | None:
        if self._guide is None:
            return None
        guide = load_trainable(self._guide, device=str(model.device)).eval()
        guide.requires_grad_(False)
        return guide

    def _steps(self, attempt: Attempt) -> int:
        """How many steps there will be."""
        batch = attempt.batch_size * attempt.accumulation
        one_epoch = sum(-(-len(lesson.table) // batch) for lesson in self._lessons.values())
        return max(1, round(one_epoch * self._settings.epochs))

    def _arguments(
        self, attempt: Attempt, folder: Path, device: torch.device
    ) -> SentenceTransformerTrainingArguments:
        settings = self._settings
        steps = self._steps(attempt)
        every = max(_MIN_STEPS, -(-steps // max(1, settings.evaluations)))
        distinct = any(lesson.loss.is_in_batch for lesson in self._lessons.values())
        keeps = self._around.checkpoints is not None
        choosing: dict[str, Any] = (
            {
                "eval_strategy": "steps",
                "eval_steps": every,
                "load_best_model_at_end": True,
                "metric_for_best_model": QUALITY,
                "greater_is_better": True,
            }
            if self._evaluates
            else {}
        )
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=attempt.batch_size,
            gradient_accumulation_steps=attempt.accumulation,
            learning_rate=attempt.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=settings.warmup,
            max_grad_norm=attempt.max_grad_norm,
            bf16=attempt.precision is Precision.BF16,
            fp16=attempt.precision is Precision.FP16,
            use_cpu=device.type == "cpu",
            batch_sampler=BatchSamplers.NO_DUPLICATES if distinct else BatchSamplers.BATCH_SAMPLER,
            prompts=self._prompts(),
            seed=settings.seed,
            save_strategy="steps" if keeps else "no",
            save_steps=every,
            save_total_limit=2,
            logging_strategy="steps",
            logging_steps=max(1, steps // 100),
            report_to=list(self._around.report_to) or "none",
            disable_tqdm=True,
            restore_callback_states_from_checkpoint=True,  # how patient it still is
            **choosing,
        )
        # With several cards the trainer would divide each batch among copies of the model, which
        # then have fewer negatives, and which Matryoshka losses do not reach.
        arguments._n_gpu = min(1, arguments.n_gpu)
        if device.type == "cuda" and device.index:
            # The trainer takes the first card, whichever the model is on.
            torch.cuda.set_device(device)
            vars(arguments)["_setup_devices"] = device
        return arguments

    def _prompts(self) -> dict[str, str] | None:
        """By column: what begins each query, and each passage."""
        settings = self._settings
        columns = {
            column for lesson in self._lessons.values() for column in text_columns(lesson.table)
        }
        prompts = {
            column: (settings.query_prompt if column == ANCHOR else settings.document_prompt) or ""
            for column in columns
        }
        return {column: prompt for column, prompt in prompts.items() if prompt} or None
