"""Where the memory of a card does not suffice: smaller batches, then an error that says so."""

from collections.abc import Callable
from typing import TypeVar

from lockstep.errors import DeviceMemoryFull

T = TypeVar("T")

# What CUDA's own libraries and the driver say where torch's allocator was not asked.
_FULL = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def is_full(error: BaseException) -> bool:
    """Whether it is a card's memory that did not suffice."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in _FULL)


def memory_full(device: str, what: str) -> DeviceMemoryFull:
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemoryFull(
        f"{what} does not fit on {device}: {free >> 20} of {total >> 20} MiB are free.",
        next_step="End what else runs on the card, take passages of fewer tokens, or encode on the "
        'CPU: device = "cpu" in lockstep.toml, or LOCKSTEP_DEVICE=cpu.',
    )


def in_halves(encode: Callable[[int], T], batch_size: int, device: str) -> T:
    """What `encode` gives for batches of this size or, where they do not fit, of half of it.

    Raises DeviceMemoryFull where not even one text fits.
    """
    import torch

    while True:
        try:
            return encode(batch_size)
        except RuntimeError as error:
            if not is_full(error):
                raise
            if batch_size == 1:
                raise memory_full(device, "A batch of one text") from error
        torch.cuda.empty_cache()  # after the error, whose traceback holds the batch's tensors
        batch_size //= 2
