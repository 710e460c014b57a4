"""A model compiled by OpenVINO: far faster than torch on a CPU for a query of a few words."""

import math
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
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
# A lone query of so many tokens, its padding included, has a compiled model of its own: one for all
# lengths adapts itself at each change of length, which takes MiniLM 1.1 ms where a query takes 1.8.
_LONE_LENGTHS = (16, 32)
# Each holds the weights once more. Larger models compute for so long that adapting hardly shows,
# and of smaller ones a query takes no time.
_LONE_PARAMETERS = range(1_000_000, 40_000_001)
_REPORTING = "openvino.tools.ovc"
_importing = Lock()


class OpenVinoForm:
    """Runs a compiled model on tokenized queries. Safe in several threads.

    Queries of one padded length are encoded together; the same length gives the same shape, which
    the first time costs ten times as much as later. Lone queries of few tokens, which most are, do
    not even pay for the change from one shape to another: see `compile_lone_lengths`.
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
        self._properties = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": self.lanes,
            "INFERENCE_NUM_THREADS": self.lanes * each,
            "ENABLE_CPU_PINNING": False,  # other workers would be pinned to the same cores
        }
        self._any = _Compiled(source, self._properties)
        self._lone: dict[int, _Compiled] = {}  # by padded length

    def encode(self, queries: Sequence[Encoding]) -> Vector:
        """(n, dim), not normalised, of queries that `max_tokens` holds. Raises EncodingFailed."""
        longest = max(len(query.ids) for query in queries)
        length = padded_length(longest, self.max_tokens)
        fixed = self._lone.get(length) if len(queries) == 1 else None
        return (fixed or self._any).run(self._columns(queries, length))

    def compile_lone_lengths(self, source: Any) -> None:
        """Compile what encodes lone queries of few tokens, length by length.

        What does not give the bits of the model for all lengths is not used, since a query has to
        have the same bits alone and among others.
        """
        model = openvino().Core().read_model(source) if isinstance(source, Path) else source
        if _parameters(model) not in _LONE_PARAMETERS:
            return
        for length in _LONE_LENGTHS:
            queries = self._of_length(length)
            if queries:
                fixed = model.clone()
                fixed.reshape({each.get_any_name(): [1, length] for each in fixed.inputs})
                compiled = _Compiled(fixed, self._properties)
                if self._same_bits(compiled, queries, length):
                    self._lone[length] = compiled

    def _of_length(self, length: int) -> list[Encoding]:
        """A few queries that are padded to a length."""
        texts = (" ".join(["wing", "1"] * words)[: 5 * words] for words in range(1, 2 * length))
        queries = map(self.tokens.encode, texts)
        fitting = (q for q in queries if padded_length(len(q.ids), self.max_tokens) == length)
        return list(islice(fitting, 3))

    def _same_bits(self, compiled: "_Compiled", queries: Sequence[Encoding], length: int) -> bool:
        columns = [self._columns([query], length) for query in queries]
        return all(compiled.run(c).tobytes() == self._any.run(c).tobytes() for c in columns)

    def _columns(self, queries: Sequence[Encoding], length: int) -> list[Any]:
        return list(self.tokens.columns(queries, length).values())


class _Compiled:
    """A compiled model, and requests to it that are made once. Safe in several threads."""

    def __init__(self, source: Any, properties: Mapping[str, Any]) -> None:
        self._model = openvino().Core().compile_model(source, "CPU", properties)
        self._idle: deque[Any] = deque()  # infer requests, each for one caller at a time

    def run(self, columns: Sequence[Any]) -> Vector:
        """(n, dim). Raises EncodingFailed."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        try:
            vectors: Vector = request.infer(columns, share_inputs=True)[0].astype(np.float32)
        except RuntimeError as error:
            raise EncodingFailed(f"The compiled model failed: {error}") from error
        self._idle.append(request)
        return vectors


def _parameters(model: Any) -> int:
    constants = (each for each in model.get_ops() if each.get_type_name() == "Constant")
    return sum(math.prod(each.get_output_shape(0)) for each in constants)


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
