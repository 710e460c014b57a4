"""What is done when a training cannot go on as it was: less at once, slower, in safer numbers."""

import re
from dataclasses import dataclass, replace

from lockstep.errors import DeviceMemoryFull, LockstepError, TrainingDiverged
from lockstep.models.device_memory import is_full
from lockstep_indexer.train.settings import Loss, Precision

MAX_RETRIES = 4
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|could not allocate|cannot allocate",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Attempt:
    """How one attempt trains; the batch that a step learns from is the same in all of them."""

    precision: Precision
    learning_rate: float
    max_grad_norm: float
    batch_size: int  # examples at once
    accumulation: int  # how many of these make a step
    micro_batch: int
    cached: bool = False  # in-batch losses work through their batch in pieces

    def loss(self, loss: Loss) -> Loss:
        return (loss.cached or loss) if self.cached else loss


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, on a card or a CPU, found no memory."""
    if is_full(error) or isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def slower(attempt: Attempt, losses: list[float]) -> tuple[Attempt, str]:
    """After a loss that is no number: half the rate, tighter clipping, and no fp16.

    Raises TrainingDiverged where that was done before, several times.
    """
    precision = Precision.BF16 if attempt.precision is Precision.FP16 else Precision.FP32
    if attempt.precision is Precision.FP16 and not _has_bf16():
        precision = Precision.FP32
    calmer = replace(
        attempt,
        precision=precision,
        learning_rate=attempt.learning_rate / 2,
        max_grad_norm=attempt.max_grad_norm / 2,
    )
    said = (
        f"the loss was no number (the last ones: {_last(losses)}); went back, with a rate of "
        f"{calmer.learning_rate:.2g}, clipping at {calmer.max_grad_norm:.2g}, in {precision}"
    )
    return calmer, said


def smaller(attempt: Attempt, losses: set[Loss]) -> tuple[Attempt, str]:
    """After memory ran out: in-batch losses in pieces, others in several turns per step.

    Raises DeviceMemoryFull where one example at a time is too much.
    """
    in_pieces = all(loss.cached for loss in losses)
    if not attempt.cached and any(loss.cached and not loss.is_cached for loss in losses):
        micro = max(1, min(attempt.micro_batch, attempt.batch_size // 2))
        return replace(attempt, cached=True, micro_batch=micro), (
            f"memory ran out; batches of {attempt.batch_size} are worked through in pieces of "
            f"{micro}"
        )
    if in_pieces and attempt.micro_batch > 1:
        micro = attempt.micro_batch // 2
        return replace(attempt, micro_batch=micro), (
            f"memory ran out; batches are worked through in pieces of {micro}"
        )
    if attempt.batch_size > 2:
        half = attempt.batch_size // 2
        return replace(attempt, batch_size=half, accumulation=2 * attempt.accumulation), (
            f"memory ran out; each step learns from {2 * attempt.accumulation} batches of {half}"
        )
    raise DeviceMemoryFull(
        "The memory does not hold the model and the smallest batch.",
        next_step="Give shorter texts (--max-tokens), train adapters only (--lora 16), or take a "
        "smaller base model.",
    )


def diverged(tries: int) -> LockstepError:
    return TrainingDiverged(
        f"The loss became NaN or infinite in each of {tries} attempts, each at half the rate of "
        "the one before; nothing was registered.",
        next_step="Give a much lower --learning-rate, and look at the data for broken texts.",
    )


def _has_bf16() -> bool:
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def _last(losses: list[float]) -> str:
    return ", ".join(f"{loss:.3g}" for loss in losses[-3:]) or "none before it"
