"""Examples that a tiny model can learn from, and settings by which it does so in a second."""

import json
import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from lockstep.bootstrap import open_workspace
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.ordering import Wanted, order_of
from lockstep_indexer.train.progress import Listener
from lockstep_indexer.train.settings import Precision, TrainingSettings
from lockstep_indexer.train.training import train

_WORDS = [f"w{number}" for number in range(60)]

# A CPU that is fast in bf16 takes it by default; in fp32 all of them give much the same.
TINY = TrainingSettings(
    batch_size=16,
    learning_rate=5e-3,
    matryoshka_dims=(16,),
    max_tokens=32,
    precision=Precision.FP32,
)


def pairs(count: int, *, seed: int = 1, negatives: int = 0) -> TrainingData:
    """Queries of three words, answered by the same words backwards: nothing is shared at first."""
    draws = random.Random(seed)
    return TrainingData(Kind.PAIRS, [_pair(draws, negatives) for _ in range(count)], {})


def hard(count: int, *, negatives: int = 1) -> TrainingData:
    return replace(pairs(count, negatives=negatives), kind=Kind.HARD_NEGATIVES)


def weights(folder: Path) -> dict[str, NDArray[Any]]:
    return dict(load_file(folder / "model.safetensors"))


def same_weights(one: Path, other: Path) -> bool:
    """Whether two models have the same weights, bit for bit."""
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name]) for name in ours
    )


def stopping_at(step: int) -> Callable[[Any], None]:
    """A listener to progress that fails at a step, as a killed process would."""

    def listen(progress: Any) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return listen


def _pair(draws: random.Random, negatives: int) -> Example:
    words = draws.sample(_WORDS, 3)
    others = (" ".join(draws.sample(_WORDS, 3)) for _ in range(negatives))
    return Example((" ".join(words), " ".join(word[::-1] for word in words) + " and so", *others))


def write_pairs(path: Path, data: TrainingData) -> Path:
    rows = [{"query": each.query, "passage": each.passage} for each in data.examples]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_training(root: Path, corpus: str, file: Path, die_at: int | None = None) -> str:
    """Train a model 'ours' from tiny@1; kill -9 at a step. Returns the new version's digest."""

    def listen(progress: Any) -> None:
        if progress.step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with open_workspace(root) as workspace:
        wanted = Wanted(corpus, "ours", (file,), TINY, base="tiny@1")
        order = order_of(workspace, wanted)
        return train(workspace, order, Listener(progress=listen)).version.digest
