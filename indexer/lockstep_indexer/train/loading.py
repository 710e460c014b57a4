"""Models as training needs them: in single precision, from local files, quietly."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.errors import ModelRejected
from lockstep.models.device_memory import is_full, memory_full
from lockstep.models.loading import quietly, usable_device

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_trainable(folder: Path, *, device: str | None = None) -> "SentenceTransformer":
    """Load an encoder in fp32, whatever it was saved in: half precision loses small steps.

    Raises ModelRejected where the libraries cannot load it, InvalidSetting where there is no such
    device, DeviceMemoryFull where it has no room.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    chosen = usable_device(device)
    with quietly():
        try:
            return SentenceTransformer(
                str(folder),
                device=chosen,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
        except Exception as error:  # whatever the libraries raise at files they do not understand
            if is_full(error):
                raise memory_full(chosen, "The base model") from error
            raise ModelRejected(
                f"The base model cannot be loaded: {type(error).__name__}: {error}",
                next_step="Choose another one: --base REF",
            ) from error


def dimension(model: "SentenceTransformer") -> int:
    """Of the model's vectors."""
    dim = model.get_embedding_dimension()
    if dim is None:
        raise ModelRejected("The base model does not say how long its vectors are.")
    return int(dim)


@contextmanager
def without_bars() -> Iterator[None]:
    """The libraries' own progress bars and notes would write across whatever shows ours."""
    import datasets
    from transformers.utils import logging

    transformers_logging: Any = logging  # its switches have no types
    shown = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
