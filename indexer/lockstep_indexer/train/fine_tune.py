"""Fine-tuning: from a base model and material to a folder of weights, whatever comes between."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.models.loading import seeded, usable_device
from lockstep.models.verification import Choices, prompts_of
from lockstep_indexer.train.blending import blend
from lockstep_indexer.train.grouping import group_by_length
from lockstep_indexer.train.lessons import Lessons, Material, lessons_of, shortages
from lockstep_indexer.train.loading import dimension, load_trainable, without_bars
from lockstep_indexer.train.lora import add_adapters, merge_adapters
from lockstep_indexer.train.precision import usable_precision
from lockstep_indexer.train.progress import Course, Listener
from lockstep_indexer.train.recovery import (
    MAX_RETRIES,
    Attempt,
    diverged,
    is_out_of_memory,
    slower,
    smaller,
)
from lockstep_indexer.train.saving import require_space, save_result, saving
from lockstep_indexer.train.settings import TrainingSettings, dims_for

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from lockstep_indexer.train.holdout import RetrievalTest


@dataclass(frozen=True)
class Surroundings:
    """Where a training runs, and who watches it."""

    device: str | None = None
    checkpoints: Path | None = None  # without a folder for them it cannot be resumed
    choosing: "RetrievalTest | None" = None  # what the best step is chosen by
    report_to: tuple[str, ...] = ()  # such as tensorboard
    listener: Listener = field(default_factory=Listener)


def fine_tune(
    base: Path,
    material: Material,
    output: Path,
    settings: TrainingSettings,
    surroundings: Surroundings | None = None,
) -> Course:
    """Train the model in `base` and save the result, as safetensors, in `output`.

    Goes on at the last whole checkpoint. Memory that runs out, and a loss that becomes NaN, are
    answered by going back to it with other settings. Raises InvalidInput where the material does
    not suit, TrainingDiverged, DeviceMemoryFull or StorageFull.
    """
    around = surroundings or Surroundings()
    around = replace(around, device=usable_device(around.device))
    settings = _with_prompts(base, settings)
    with without_bars(), saving(around.checkpoints or output):
        student = load_trainable(base, device=around.device)
        if around.checkpoints is not None:
            require_space(student, around.checkpoints, settings)
        dims = dims_for(dimension(student), settings.matryoshka_dims)
        max_tokens = student.max_seq_length
        limit_tokens(student, settings)
        lessons = lessons_of(material, settings, student)
        del student
        model, course = _train(base, lessons, material, settings, dims, around)
        model.max_seq_length = max_tokens
        save_result(model, output, dims, settings)
    return course


def _train(
    base: Path,
    lessons: Lessons,
    material: Material,
    settings: TrainingSettings,
    dims: tuple[int, ...],
    around: Surroundings,
) -> "tuple[SentenceTransformer, Course]":
    from lockstep_indexer.train.running import Run

    attempt = first_attempt(settings, around.device or "cpu")
    course = Course(precision=attempt.precision)
    for said in shortages(lessons, settings):
        course.note(said)
        around.listener.note(said)
    run = Run(lessons, settings, dims, around, course, material.guide)
    model = _until_done(lambda: prepared(base, settings, around), run, attempt, course, around)
    if settings.lora_rank:
        merge_adapters(model)
    if settings.blend < 1:
        blend(model, base, settings.blend)
    return model.eval(), course


def _until_done(
    load: "Callable[[], SentenceTransformer]",
    run: "Callable[[SentenceTransformer, Attempt], object]",
    attempt: Attempt,
    course: Course,
    around: Surroundings,
) -> "SentenceTransformer":
    """Try again, from the last good state, with what each failure asks for."""
    from lockstep_indexer.train.trainer import NotFinite

    slowed = 0
    while True:
        model = load()
        try:
            run(model, attempt)
            return model
        except NotFinite:
            slowed += 1
            if slowed > MAX_RETRIES:
                raise diverged(slowed) from None
            attempt, said = slower(attempt, [loss for _, loss in course.losses])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            attempt, said = smaller(attempt, course.trained_by)
        course.note(said)
        around.listener.note(said)
        del model
        _free_memory()


def first_attempt(settings: TrainingSettings, device: str) -> Attempt:
    return Attempt(
        precision=usable_precision(settings.precision, device),
        learning_rate=settings.learning_rate,
        max_grad_norm=settings.max_grad_norm,
        batch_size=settings.batch_size,
        accumulation=1,
        micro_batch=settings.micro_batch,
    )


def prepared(base: Path, settings: TrainingSettings, around: Surroundings) -> "SentenceTransformer":
    model = load_trainable(base, device=around.device)
    # Else the library picks examples for a model card that is never written.
    model.model_card_data.widget = [{"text": ""}]
    limit_tokens(model, settings)
    if settings.lora_rank:
        with seeded(settings.seed):
            add_adapters(model, settings.lora_rank)
    group_by_length(model)
    return model


def limit_tokens(model: "SentenceTransformer", settings: TrainingSettings) -> None:
    """Let a model read as much of a text as is trained on."""
    model.max_seq_length = min(settings.max_tokens, model.max_seq_length or settings.max_tokens)


def _with_prompts(base: Path, settings: TrainingSettings) -> TrainingSettings:
    """Where none is chosen, the base's own prompts, which it is used with."""
    chosen = Choices(query_prompt=settings.query_prompt, document_prompt=settings.document_prompt)
    query, document = prompts_of(base, chosen)
    return replace(settings, query_prompt=query, document_prompt=document)


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
