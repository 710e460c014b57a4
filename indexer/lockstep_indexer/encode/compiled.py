"""Padded batches through a model compiled by OpenVINO: the fastest there is on a CPU."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.errors import EncodingFailed
from lockstep.models.agreement import MAX_MEASURED_TOKENS
from lockstep.models.openvino_form import is_installed, openvino, precisions
from lockstep.models.query_tokens import QueryTokens
from lockstep.models.torch_form import TorchForm
from lockstep.models.tracing import NotTraceable, traced
from lockstep.models.vectors import Vector
from lockstep_indexer.encode.batches import longest_first, padded_end, restored
from lockstep_indexer.encode.precision import ELSEWHERE
from lockstep_indexer.encode.routes import Check, Route, RouteRefused, go_on
from lockstep_indexer.encode.tokens import Tokens

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH_TOKENS = 1_024  # 512 to 4,096 take the same time within 4 %
_STEP = 16  # lengths are padded to a multiple of it, so that shapes come again
_THREADS_A_STREAM = 1  # threads of one stream wait for each other


class CompiledModels:
    """One trace of a model, compiled for each precision that is asked for."""

    def __init__(self, model: "SentenceTransformer", prompt: str, prompt_tokens: int) -> None:
        """Raises RouteRefused."""
        if not is_installed():
            raise RouteRefused("OpenVINO is not installed")
        if prompt_tokens:
            raise RouteRefused("its pooling leaves out the prompt, which is not compiled")
        self._form = TorchForm(model, QueryTokens(model, prompt))
        try:
            self._traced = traced(self._form)
        except NotTraceable as error:
            raise RouteRefused(f"it cannot be traced: {error}") from error

    @staticmethod
    def precisions() -> list[str]:
        return precisions() if is_installed() else []

    def route(
        self, precision: str, longer: Route, *, batch_tokens: int = BATCH_TOKENS
    ) -> "CompiledRoute":
        try:
            return CompiledRoute(
                self._traced, self._form, precision, longer, batch_tokens=batch_tokens
            )
        except RuntimeError as error:
            raise RouteRefused(f"OpenVINO cannot compile it: {error}") from error


class CompiledRoute:
    """Passages of up to as many tokens as are measured; `longer` ones go another way."""

    min_cosine = ELSEWHERE
    device = "cpu"
    in_fp8 = False

    def __init__(
        self, source: Any, form: TorchForm, precision: str, longer: Route, *, batch_tokens: int
    ) -> None:
        import torch

        threads = torch.get_num_threads()  # OMP_NUM_THREADS, or the cores
        streams = max(1, threads // _THREADS_A_STREAM)
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # other workers would be pinned to the same cores
        }
        library = openvino()
        self._compiled = library.Core().compile_model(source, "CPU", settings)
        # One more than run at once: the next batch is there when a stream gets free.
        self._queue = library.AsyncInferQueue(self._compiled, streams + 1)
        self._inputs = form.tokens.inputs
        self._padding = int(form.model.tokenizer.pad_token_id or 0)
        self._positions = int(form.model.max_seq_length or MAX_MEASURED_TOKENS)
        self._longer = longer
        self._budget = batch_tokens
        self.name = f"compiled by OpenVINO, {precision}, on cpu"

    def encode(self, tokens: Tokens, *, check: Check = go_on) -> Vector:
        order = longest_first(tokens)
        ordered = tokens.take(order)
        lengths = ordered.lengths
        long = int(np.searchsorted(-lengths, -MAX_MEASURED_TOKENS, side="left"))
        parts = [self._longer.encode(ordered.between(0, long), check=check)] if long else []
        if long < len(ordered):
            parts.append(self._measured(ordered.between(long, len(ordered)), check))
        vectors: Vector = np.concatenate(parts)
        return vectors[restored(order)]

    def _measured(self, ordered: Tokens, check: Check) -> Vector:
        widths = -(-np.maximum(ordered.lengths, 1) // _STEP) * _STEP
        np.minimum(widths, self._positions, out=widths)
        results: dict[int, Vector] = {}
        self._queue.set_callback(
            lambda request, start: results.update({start: request.get_output_tensor(0).data.copy()})
        )
        start = 0
        try:
            while start < len(ordered):
                check()
                end = padded_end(widths, start, self._budget)
                columns = self._columns(ordered.between(start, end), int(widths[start]))
                self._queue.start_async(columns, start)
                start = end
        except RuntimeError as error:
            raise EncodingFailed(f"The compiled model failed: {error}") from error
        finally:  # also what was begun before `check` ended it
            self._await()
        vectors = np.concatenate([results[start] for start in sorted(results)])
        return _unit(vectors.astype(np.float32))

    def _await(self) -> None:
        try:
            self._queue.wait_all()
        except RuntimeError as error:
            raise EncodingFailed(f"The compiled model failed: {error}") from error

    def _columns(self, passages: Tokens, width: int) -> list[Any]:
        ids, mask = passages.columns(width, self._padding)
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return [known[name] for name in self._inputs]


def _unit(vectors: Vector) -> Vector:
    with np.errstate(invalid="ignore", divide="ignore"):
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        unit: Vector = (vectors / norms).astype(np.float32)
    return unit
