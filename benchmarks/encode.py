"""Encoding passages in bulk: Lockstep's routes beside SentenceTransformer.encode, in one run.

    python -m benchmarks.encode [--model bert-base|bert-large|minilm|FOLDER] [--texts N]
                                [--data DIR --collection medquad] [--device cuda:0]
                                [--compile] [--fp8] [--all] [--rounds N]
                                [--server URL --server-model NAME]

The named models have those shapes and random weights. The texts are pieces of Python's standard
library, about 250 tokens each, or documents of a BEIR folder. The ways take turns; each row is its
best round. FLOPs are counted for real tokens, not for padding. "core" compares processor time,
which other work on the machine does not slow; elsewhere than on a CPU it means the host alone.
"""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import torch

from benchmarks.encode_options import asked
from benchmarks.encoded_texts import documents, python_source
from benchmarks.encoder_shapes import SHAPES, random_model
from lockstep.errors import LockstepError
from lockstep.models.loading import load_model
from lockstep.models.manifest import ModelManifest
from lockstep.models.vectors import Vector, cosines
from lockstep_indexer.encode.card import require_fp8
from lockstep_indexer.encode.ceiling import flops, matmul_ceiling
from lockstep_indexer.encode.compiled import CompiledModels
from lockstep_indexer.encode.packed import PackedRoute
from lockstep_indexer.encode.padded import PaddedRoute
from lockstep_indexer.encode.passage_encoder import PassageEncoder
from lockstep_indexer.encode.routes import Route, RouteRefused
from lockstep_indexer.encode.structure import moved_copy
from lockstep_indexer.encode.tokens import Tokens

LIBRARY = "encode, default"
LIBRARY_BATCHES = (256, 1024)
SERVER_BATCH, SERVER_CALLERS = 32, 8

Encode = Callable[[], Vector]


@dataclass(frozen=True)
class Took:
    """One round of one way."""

    wall_s: float
    core_s: float

    @classmethod
    def of(cls, encode: Encode) -> tuple["Took", Vector]:
        wall, core = time.perf_counter(), time.process_time()
        vectors = encode()
        return cls(time.perf_counter() - wall, time.process_time() - core), vectors


def main() -> None:
    flags = asked((__doc__ or "").splitlines()[0])
    device = flags.device
    if flags.compile and not device.startswith("cuda"):
        print(f"--compile changes nothing on {device}: torch compiles for CUDA cards alone")
    with TemporaryDirectory() as folder:
        named = flags.model in SHAPES
        path = random_model(flags.model, Path(folder)) if named else Path(flags.model)
        model: Any = loaded(path)
    texts = documents(flags.corpus, flags.texts) if flags.corpus else python_source(flags.texts)
    started = time.perf_counter()
    encoder = PassageEncoder.choose(model, manifest(model), device=device, compile=flags.compile)
    print(f"chosen in {time.perf_counter() - started:.1f} s: {encoder.report}")
    tokens = encoder.tokenizer.tokens(texts)
    ways = library_ways(model, texts, device) | {
        f"Lockstep, cold: {encoder.name}": lambda: encoder.encode_texts(texts),
        f"Lockstep, tokens cached: {encoder.name}": lambda: encoder.encode(tokens),
        **(by_server(flags.server, flags.server_model, texts) if flags.server else {}),
        **(in_fp8(model, tokens, device) if flags.fp8 else {}),
        **(other_routes(model, tokens, device) if flags.all else {}),
    }
    show(ways, tokens, flops(model[0].model, tokens.lengths), device, flags.rounds)


def loaded(path: Path) -> Any:
    """Ends the process with code 2 where the libraries cannot load the folder."""
    try:
        return load_model(path, device="cpu")
    except LockstepError as error:
        print(f"argument --model: '{path}': {error.message} {error.next_step}", file=sys.stderr)
        raise SystemExit(2) from None


def manifest(model: Any) -> ModelManifest:
    return ModelManifest(
        files={},
        dim=model.get_embedding_dimension(),
        max_tokens=int(model.max_seq_length),
        pooling="",
        normalised=True,
        similarity="cosine",
    )


def library_ways(model: Any, texts: Sequence[str], device: str) -> dict[str, Encode]:
    def by(loaded: Any, batch: int) -> Vector:
        vectors = loaded.encode(
            list(texts), batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)

    exact = model if device == "cpu" else moved_copy(model, device, torch.float32)
    ways: dict[str, Encode] = {LIBRARY: partial(by, exact, 32)}
    if device.startswith("cuda"):
        half = moved_copy(model, device, torch.float16)
        for batch in LIBRARY_BATCHES:
            ways[f"encode, fp16, batch {batch}"] = partial(by, half, batch)
    return ways


def by_server(address: str, model: str, texts: Sequence[str]) -> dict[str, Encode]:
    """Another server, by the request that all of them know: several callers, batches each."""
    batches = [list(texts[at : at + SERVER_BATCH]) for at in range(0, len(texts), SERVER_BATCH)]

    def one(client: httpx.Client, batch: list[str]) -> Vector:
        answer = client.post("/v1/embeddings", json={"model": model, "input": batch})
        rows = answer.raise_for_status().json()["data"]
        return np.array([row["embedding"] for row in rows], dtype=np.float32)

    def all_of_them() -> Vector:
        with (
            httpx.Client(base_url=address, timeout=600) as client,
            ThreadPoolExecutor(SERVER_CALLERS) as callers,
        ):
            return np.concatenate(list(callers.map(partial(one, client), batches)))

    return {f"server at {address}, batches of {SERVER_BATCH}": all_of_them}


def in_fp8(model: Any, tokens: Tokens, device: str) -> dict[str, Encode]:
    """Compiled, as what surrounds the products would eat up the gain."""

    def build() -> Route:
        require_fp8(device)
        return PackedRoute(model, device=device, dtype=torch.bfloat16, compiled=True, fp8=True)

    return by_routes([build], tokens)


def other_routes(model: Any, tokens: Tokens, device: str) -> dict[str, Encode]:
    """What was not chosen, tokens cached; without those that this model or machine has not."""
    kinds: list[Callable[[], Route]] = []
    if device.startswith("cuda"):
        for dtype in (torch.float16, torch.bfloat16):
            kinds.append(partial(PackedRoute, model, device=device, dtype=dtype))
            kinds.append(partial(PaddedRoute, model, device=device, dtype=dtype))
    else:
        exact = PaddedRoute(model)
        kinds += [partial(PackedRoute, model), lambda: exact]
        kinds.append(partial(PaddedRoute, model, dtype=torch.bfloat16))
        compiled = CompiledModels(model, "", 0)
        kinds += [partial(compiled.route, each, exact) for each in CompiledModels.precisions()]
    return by_routes(kinds, tokens)


def by_routes(kinds: Sequence[Callable[[], Route]], tokens: Tokens) -> dict[str, Encode]:
    """Tokens cached, by those of the routes that this model and machine have."""
    ways: dict[str, Encode] = {}
    for build in kinds:
        try:
            route = build()
        except RouteRefused as error:
            print(f"refused: {error}")
        else:
            ways[f"route: {route.name}"] = partial(route.encode, tokens)
    return ways


def show(ways: dict[str, Encode], tokens: Tokens, work: float, device: str, rounds: int) -> None:
    ceiling = matmul_ceiling(device)
    took, vectors = in_turn(ways, rounds)
    # Other work on the machine slows the product too: the better of before and after.
    ceiling = max(ceiling, matmul_ceiling(device))
    rival = took[LIBRARY]
    print(
        f"{len(tokens)} texts of {tokens.lengths.mean():.0f} tokens, on {device}; "
        f"ceiling {ceiling / 1e12:.2f} TFLOP/s"
    )
    print("docs/s | tokens/s | of the ceiling | x encode | x encode, core | lowest cosine | way")
    for name, best in took.items():
        cosine = cosines(vectors[name], vectors[LIBRARY]).min()
        print(
            f"{len(tokens) / best.wall_s:,.1f} | {len(tokens.ids) / best.wall_s:,.0f} | "
            f"{work / best.wall_s / ceiling:.1%} | {rival.wall_s / best.wall_s:.2f} | "
            f"{rival.core_s / best.core_s:.2f} | {cosine:.6f} | {name}"
        )
    fastest = min(best.wall_s for best in took.values())
    if work / fastest > ceiling:
        print(
            "a share above 100 %: the ceiling was measured while the machine was busier than in "
            "the rounds; expected 100 % at most. Run it again on an idle machine."
        )


def in_turn(ways: dict[str, Encode], rounds: int) -> tuple[dict[str, Took], dict[str, Vector]]:
    """The best of each way's rounds, after one that is not counted where there are several."""
    best: dict[str, Took] = {}
    vectors: dict[str, Vector] = {}
    for number in range(rounds + (rounds > 1)):
        for name, encode in ways.items():
            took, vectors[name] = Took.of(encode)
            if name not in best or number == 1:
                best[name] = took
            best[name] = replace(
                best[name],
                wall_s=min(best[name].wall_s, took.wall_s),
                core_s=min(best[name].core_s, took.core_s),
            )
    return best, vectors


if __name__ == "__main__":
    main()
