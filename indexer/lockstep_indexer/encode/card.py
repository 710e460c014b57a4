"""Memory of a CUDA card: how much a batch may take, and what to do when it is full."""

from collections.abc import Callable

import torch

from lockstep.errors import DeviceMemoryFull
from lockstep.models.device_memory import is_full, memory_full
from lockstep_indexer.encode.batches import Budget
from lockstep_indexer.encode.routes import Check, RouteRefused, go_on

MOST_TOKENS = 131_072  # beyond it a card gains nothing more
_PROBE_TOKENS = 8_192
_FEWEST_TOKENS = 256
_SHARE = 0.8  # of the free memory: the allocator needs room between its blocks
_FP8_SINCE = (8, 9)  # compute capability


def require_fp8(device: str) -> None:
    """Raises RouteRefused where the device does not multiply eight-bit floats."""
    needs = "fp8 needs a CUDA card of compute capability 8.9 or newer (Ada, Hopper, Blackwell)"
    if not device.startswith("cuda"):
        raise RouteRefused(f"{needs}, not {device}")
    if (has := torch.cuda.get_device_capability(device)) < _FP8_SINCE:
        raise RouteRefused(f"{needs}; {device} has {has[0]}.{has[1]}")


def found_budget(device: str, run: Callable[[int], int]) -> Budget:
    """The tokens of a batch that the free memory holds, going by a batch that `run` is to try: of
    as many tokens as it is given, or a few less, which it tells.

    Raises DeviceMemoryFull where not even a small one fits.
    """
    tokens = _PROBE_TOKENS
    while True:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        try:
            tried = run(tokens)
            break
        except RuntimeError as error:
            if not is_full(error):
                raise
            if tokens <= _FEWEST_TOKENS:
                raise _too_many(device, tokens) from error
        tokens //= 2
    used = max(1, torch.cuda.max_memory_allocated(device) - before)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return Budget(max(tried, min(MOST_TOKENS, int(_SHARE * free / used * tried))))


def halving(
    end: int,
    cut: Callable[[int, int], int],
    run: Callable[[int, int], None],
    budget: Budget,
    size: Callable[[int, int], int],
    device: str,
    check: Check = go_on,
) -> None:
    """Run batches up to `end`, each from where `cut` left off; where one does not fit, again in
    halves. Nothing that was run is run again. Raises DeviceMemoryFull for one passage too many.
    """
    start = 0
    while start < end:
        check()
        stop = cut(start, budget.tokens)
        try:
            run(start, stop)
        except RuntimeError as error:
            if not is_full(error):
                raise
            if stop - start == 1:
                raise _too_many(device, size(start, stop)) from error
            budget.halve(size(start, stop))
        else:
            start = stop
            continue
        torch.cuda.empty_cache()  # after the error, whose traceback holds the batch's tensors


def _too_many(device: str, tokens: int) -> DeviceMemoryFull:
    return memory_full(device, f"A batch of {tokens} tokens")
