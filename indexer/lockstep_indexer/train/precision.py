"""Which numbers a processor is fast in, when it trains."""

from lockstep.errors import InvalidSetting
from lockstep_indexer.train.settings import Precision


def usable_precision(wanted: Precision, device: str) -> Precision:
    """What `auto` stands for on a device. Raises InvalidSetting for what it cannot calculate in.

    The choice follows from the processor and not from a measurement, so that one machine trains
    the same weights each time.
    """
    able = _able(device)
    if wanted is Precision.AUTO:
        return able[0]
    if wanted not in able:
        raise InvalidSetting(
            f"The device '{device}' does not train in {wanted}; expected {' or '.join(able)}.",
            next_step="Leave --precision out to take the fastest.",
        )
    return wanted


def _able(device: str) -> tuple[Precision, ...]:
    """What a device trains in, the best first.

    bf16 has the range of fp32: nothing overflows. On a CPU it pays where matrices are multiplied
    in it; elsewhere torch converts every number back and forth.
    """
    import torch

    if device.startswith("cuda"):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision.BF16, Precision.FP16, Precision.FP32
        if torch.cuda.get_device_capability() >= (7, 0):
            return Precision.FP16, Precision.FP32
        return (Precision.FP32,)
    if device == "cpu" and _cpu_multiplies_bf16():
        return Precision.BF16, Precision.FP32
    return (Precision.FP32, Precision.BF16) if device == "cpu" else (Precision.FP32,)


def _cpu_multiplies_bf16() -> bool:
    import torch

    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch's own, unstable names
    return any(bool(getattr(torch.cpu, name, bool)()) for name in known)
