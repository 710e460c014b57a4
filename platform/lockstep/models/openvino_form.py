"""A model compiled by OpenVINO: far faster than torch on a CPU for a query of a few words."""

import sys
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from tokenizers import Encoding

from lockstep.errors import EncodingFailed
from lockstep.models.query_tokens import QueryTokens, padded_length
from lockstep.models.vectors import Vector

# More threads than this make one short query no faster; further cores encode other queries.
_THREADS_A_QUERY = 4
_REPORTING = "openvino.tools.ovc"
_importing = Lock()


class OpenVinoForm:
    """Runs a compiled model on tokenized queries. Safe in several threads.

    Queries of one padded length are encoded together; the same length gives the same shape, which
    the first time costs ten times as much as later.
    """

    batches = True

    def __init__(self, source: Any, precision: str, tokens: QueryTokens, max_tokens: int) -> None:
        import torch

        threads = torch.get_num_threads()  # OMP_NUM_THREADS, or the cores
        each = min(threads, _THREADS_A_QUERY)
        self.tokens = tokens
        self.precision = precision
        self.max_tokens = max_tokens
        self.lanes = threads // each
        self._compiled = (
            openvino()
            .Core()
            .compile_model(
                source,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": precision,
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": self.lanes,
                    "INFERENCE_NUM_THREADS": self.lanes * each,
                    "ENABLE_CPU_PINNING": False,  # other workers would be pinned to the same cores
                },
            )
        )
        self._idle: deque[Any] = deque()  # infer requests, each for one caller at a time

    def encode(self, queries: Sequence[Encoding]) -> Vector:
        """(n, dim), not normalised, of queries that `max_tokens` holds. Raises EncodingFailed."""
        longest = max(len(query.ids) for query in queries)
        length = padded_length(longest, self.max_tokens)
        inputs = list(self.tokens.columns(queries, length).values())
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            vectors: Vector = request.infer(inputs, share_inputs=True)[0].astype(np.float32)
        except RuntimeError as error:
            raise EncodingFailed(f"The compiled model failed: {error}") from error
        self._idle.append(request)
        return vectors


def openvino() -> Any:
    """The library, without the part of it that tells Google Analytics of every import.

    Raises ImportError where it is not installed.
    """
    with _importing:
        if "openvino" in sys.modules:
            return sys.modules["openvino"]
        known = sys.modules.get(_REPORTING)
        sys.modules[_REPORTING] = None  # type: ignore[assignment]  # its import fails, unnoticed
        try:
            return import_module("openvino")
        finally:
            del sys.modules[_REPORTING]
            if known is not None:
                sys.modules[_REPORTING] = known


def is_installed() -> bool:
    return find_spec("openvino") is not None


def precisions() -> list[str]:
    """What this processor computes in, the fastest first."""
    offered = openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["bf16", "f32"] if "BF16" in offered else ["f32"]


def processor() -> str:
    return str(openvino().Core().get_property("CPU", "FULL_DEVICE_NAME"))


def save(model: Any, path: Path) -> None:
    openvino().save_model(model, path, compress_to_fp16=False)
