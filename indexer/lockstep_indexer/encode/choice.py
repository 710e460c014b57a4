"""The routes that a model and a device have, fastest first, and the first of them that agrees."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

import torch

from lockstep.errors import EncodingFailed
from lockstep.models.vectors import lower_bound
from lockstep_indexer.encode.card import require_fp8
from lockstep_indexer.encode.compiled import CompiledModels
from lockstep_indexer.encode.numerics import Sample
from lockstep_indexer.encode.packed import PackedRoute
from lockstep_indexer.encode.padded import PaddedRoute
from lockstep_indexer.encode.precision import has_bfloat16
from lockstep_indexer.encode.routes import Route, RouteRefused

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Candidates = Iterator[tuple[str, Callable[[], Route]]]


@dataclass(frozen=True)
class Refusal:
    """A faster route that is not taken, and why."""

    route: str
    reason: str


@dataclass(frozen=True)
class RouteReport:
    """What was chosen, and how near it comes to the library in single precision."""

    route: str
    cosine: float  # the lowest of all passages that were compared
    passages: int
    longest: int  # of them, in tokens
    refused: tuple[Refusal, ...] = field(default=())

    def __str__(self) -> str:
        cosine = lower_bound(self.cosine, digits=6)
        told = f"{self.route}; lowest cosine {cosine} over {self.passages} passages"
        return "; ".join([told, *(f"not {each.route}: {each.reason}" for each in self.refused)])


@dataclass(frozen=True)
class Choosing:
    """What there is to choose for. `compile` is torch's compiler, which takes a minute; `fp8` says
    that linear layers may be in eight bits, which pays for large models, and only compiled.
    """

    model: "SentenceTransformer"  # in single precision, on the CPU
    prompt: str
    prompt_tokens: int  # that pooling leaves out
    device: str
    compile: bool
    fp8: bool = False

    def routes(self) -> Candidates:
        if self.fp8:
            yield "packed and compiled, fp8 linear layers", self._in_fp8
        if self.device.startswith("cuda"):
            yield from self._on_card()
        elif self.device != "cpu":
            yield f"padded on {self.device}", partial(self._padded, torch.float32, self.device)
        yield from self._on_cpu()

    def _on_card(self) -> Candidates:
        half = (torch.float16, torch.bfloat16)
        if self.compile:
            compiled = partial(self._packed, torch.float16, compiled=True)
            yield "packed and compiled, float16", compiled
        for dtype in half:
            yield f"packed, {_name(dtype)}", partial(self._packed, dtype)
        for dtype in (*half, torch.float32):
            yield f"padded, {_name(dtype)}", partial(self._padded, dtype, self.device)

    def _on_cpu(self) -> Candidates:
        exact = self._padded(torch.float32, "cpu")
        compiled = cache(partial(CompiledModels, self.model, self.prompt, self.prompt_tokens))
        for precision in CompiledModels.precisions() or ["f32"]:
            yield f"compiled by OpenVINO, {precision}", partial(_built, compiled, precision, exact)
        if has_bfloat16():
            yield "padded, bfloat16", partial(self._padded, torch.bfloat16, "cpu")
        yield "padded, float32", lambda: exact

    def _in_fp8(self) -> Route:
        require_fp8(self.device)
        return self._packed(torch.bfloat16, compiled=True, fp8=True)

    def _packed(self, dtype: torch.dtype, *, compiled: bool = False, fp8: bool = False) -> Route:
        return PackedRoute(
            self.model,
            prompt_tokens=self.prompt_tokens,
            device=self.device,
            dtype=dtype,
            compiled=compiled,
            fp8=fp8,
        )

    def _padded(self, dtype: torch.dtype, device: str) -> Route:
        return PaddedRoute(self.model, prompt_tokens=self.prompt_tokens, device=device, dtype=dtype)


def _built(compiled: Callable[[], CompiledModels], precision: str, longer: Route) -> Route:
    return compiled().route(precision, longer)


def first_that_agrees(candidates: Candidates, sample: Sample) -> tuple[Route, RouteReport]:
    """Raises EncodingFailed where none does."""
    refused: list[Refusal] = []
    for name, build in candidates:
        route = None  # what was refused makes room for the next: its weights may be on a card
        torch.cuda.empty_cache()
        try:
            route = build()
            cosine = sample.lowest_cosine(route)
        except Exception as error:  # whatever a model's code, torch or OpenVINO raise
            refused.append(Refusal(name, _why(error)))
            continue
        if cosine >= route.min_cosine:
            return route, RouteReport(
                route.name, cosine, len(sample.tokens), sample.tokens.longest, tuple(refused)
            )
        refused.append(
            Refusal(
                name,
                f"its lowest cosine is {lower_bound(cosine, digits=6)}; "
                f"expected {route.min_cosine} or more",
            )
        )
    raise EncodingFailed(
        "No way of encoding passages gives the vectors of sentence-transformers: "
        + "; ".join(f"{each.route}: {each.reason}" for each in refused),
        next_step="Check that the model gives vectors at all: `lockstep model show` tells of it.",
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _why(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no reason given"]
    return lines[0] if isinstance(error, RouteRefused) else f"{type(error).__name__}: {lines[0]}"
