"""Fine-tuning on positive pairs, so that short prefixes of the vectors work on their own too."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.losses import (
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging

Report = Callable[[int, int], None]  # steps done, steps in all


@dataclass(frozen=True)
class Pair:
    """A query and a passage that answers it."""

    query: str
    passage: str


@dataclass(frozen=True)
class FineTuning:
    """How to train. The other passages of a batch serve as negatives, so batches want to be big."""

    matryoshka_dims: tuple[int, ...] = (384, 256, 128, 64)
    epochs: float = 1.0
    batch_size: int = 32
    learning_rate: float = 2e-5
    max_tokens: int = 128
    seed: int = 7


def fine_tune(
    base: Path,
    pairs: Sequence[Pair],
    output: Path,
    settings: FineTuning,
    *,
    device: str | None = None,
    report: Report | None = None,
) -> Path:
    """Train the model in `base` on pairs and save the result, as safetensors, in `output`.

    Loss: multiple negatives ranking, at every Matryoshka dimension at once (Kusupati et al., 2022).
    """
    with _without_bars():
        return _train(base, pairs, output, settings, device, report)


def _train(
    base: Path,
    pairs: Sequence[Pair],
    output: Path,
    settings: FineTuning,
    device: str | None,
    report: Report | None,
) -> Path:
    model = SentenceTransformer(str(base), local_files_only=True, device=device)
    # Else it picks examples for a model card that is never written, under a bar of its own.
    model.model_card_data.widget = [{"text": pairs[0].query}]
    max_tokens = model.max_seq_length
    model.max_seq_length = min(settings.max_tokens, max_tokens or settings.max_tokens)
    loss = MatryoshkaLoss(
        model, MultipleNegativesRankingLoss(model), matryoshka_dims=list(settings.matryoshka_dims)
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=_arguments(output, settings, use_cpu=model.device.type == "cpu"),
        train_dataset=datasets.Dataset.from_dict(
            {"anchor": [p.query for p in pairs], "positive": [p.passage for p in pairs]}
        ),
        loss=loss,
        callbacks=[_Reporting(report)] if report else [],
    )
    trainer.remove_callback(PrinterCallback)  # it prints raw dictionaries
    trainer.train()
    model.max_seq_length = max_tokens
    model.save_pretrained(str(output), create_model_card=False, safe_serialization=True)
    return output


def _arguments(
    output: Path, settings: FineTuning, *, use_cpu: bool
) -> SentenceTransformerTrainingArguments:
    return SentenceTransformerTrainingArguments(
        output_dir=str(output),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=0.1,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        seed=settings.seed,
        use_cpu=use_cpu,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


@contextmanager
def _without_bars() -> Iterator[None]:
    """The libraries' own progress bars would write across whatever shows ours."""
    transformers_logging: Any = logging  # its switches have no types
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
        if shown:
            transformers_logging.enable_progress_bar()


class _Reporting(TrainerCallback):
    """Tells how many steps are done."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._report(state.global_step, state.max_steps)
