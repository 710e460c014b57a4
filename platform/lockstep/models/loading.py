"""Loading a model's files into memory: from local files only, without code of their own, quietly.

torch and sentence-transformers take seconds to import, so they are imported with the first model.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
from tokenizers import Tokenizer

from lockstep.errors import InvalidSetting, ModelRejected
from lockstep.models.device_memory import is_full, memory_full

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer

    AnyModel = SentenceTransformer | CrossEncoder | MultiVectorEncoder

# The libraries' verbosity belongs to the whole process: one load changes it at a time.
_loading = threading.Lock()


def load_model(folder: Path, *, device: str | None = None) -> "SentenceTransformer":
    """Load a folder of safetensors; in half precision on CUDA, else in single.

    Without a device the best one that is there is taken. Raises ModelRejected where the libraries
    cannot load the folder, InvalidSetting where there is no such device, DeviceMemoryFull where it
    has no room.
    """
    from sentence_transformers import SentenceTransformer

    model: SentenceTransformer = _load(SentenceTransformer, folder, device)
    return model


def load_cross_encoder(folder: Path, *, device: str | None = None) -> "CrossEncoder":
    """The same for a model that scores pairs of texts."""
    from sentence_transformers import CrossEncoder

    model: CrossEncoder = _load(CrossEncoder, folder, device)
    return model


def load_token_model(folder: Path, *, device: str | None = None) -> "MultiVectorEncoder":
    """The same for a model that gives a vector for each token."""
    from sentence_transformers import MultiVectorEncoder

    model: MultiVectorEncoder = _load(MultiVectorEncoder, folder, device)
    return model


def _load(kind: Any, folder: Path, device: str | None) -> Any:
    import torch

    chosen = usable_device(device)
    dtype = torch.float16 if chosen.startswith("cuda") else torch.float32
    with quietly():
        try:
            return kind(
                str(folder),
                device=chosen,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": dtype},
            ).eval()
        except Exception as error:  # whatever the libraries raise at files they do not understand
            if is_full(error):
                raise memory_full(chosen, "The model") from error
            raise ModelRejected(
                f"sentence-transformers cannot load the model: {type(error).__name__}: "
                f"{_first_line(error)}",
                next_step=f"Check that `{kind.__name__}(PATH)` loads it with the versions "
                "installed here.",
            ) from error


def usable_device(device: str | None) -> str:
    """The device's name, the best one's for None. Raises InvalidSetting where it cannot be used."""
    import torch
    from sentence_transformers.util import get_device_name

    if device is None:
        return str(get_device_name())
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidSetting(
            f"The device '{device}' cannot be used: {_first_line(error)}",
            next_step="Choose cpu, or leave the device out to take the best one that is there.",
        ) from error
    return device


def fast_tokenizer(model: "AnyModel") -> Tokenizer | None:
    """The model's own tokenizer; None where it has none of the fast kind."""
    tokenizer = getattr(model, "tokenizer", None)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return backend if isinstance(backend, Tokenizer) else None


def plain_copy(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer of its own that neither truncates nor pads."""
    copy: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """The same for tokenizers that give the same ids, whatever they truncate and pad to."""
    described = f"{tokenizers.__version__}\n{plain_copy(tokenizer).to_str()}"
    return hashlib.sha256(described.encode()).hexdigest()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of torch's from this seed; afterwards they go on as if nothing had been."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def quietly() -> Iterator[None]:
    """No progress bars and no warnings from the libraries; what is wrong is raised."""
    from transformers.utils import logging

    transformers_logging: Any = logging  # its switches have no types
    library = getLogger("sentence_transformers")
    with _loading:
        level, verbosity = library.level, transformers_logging.get_verbosity()
        bars = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
        library.setLevel(ERROR)
        try:
            yield
        finally:
            library.setLevel(level)
            transformers_logging.set_verbosity(verbosity)
            if bars:
                transformers_logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
