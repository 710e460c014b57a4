"""How long a cross-encoder takes for each candidate, against `CrossEncoder.predict` in one run.

The model has MiniLM's shape, 6 layers of 384, and random weights: nothing here tells of quality.
Each way scores the same candidates in turn, round after round; times are medians.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.corpus.database import Database
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.compiled_files import CompiledFiles
from lockstep.models.query_compiler import QueryCompiler
from lockstep.models.registry import ModelRegistry
from lockstep.models.reranker import Reranker
from lockstep.testing import tiny_model

QUERY = "how is the lift of a thin wing at high speed related to its angle of attack"
WORDS = "lift wing speed angle flow pressure heat shock layer number body theory plate jet"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks rerank", description=__doc__)
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--words", type=int, default=60, help="of a passage, on average")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), asked), indent=2))


def measure(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    from sentence_transformers import CrossEncoder

    source = minilm_shaped(folder / "model")
    database = Database(f"sqlite:///{folder}/catalog.db")
    database.migrate()
    artefacts = ArtefactStore(str(folder / "artefacts"))
    compiler = QueryCompiler(CompiledFiles(artefacts))
    version = ModelRegistry(database, artefacts, compiler).add("ce", source)
    compiled = Reranker.load(version, artefacts, device=asked.device, compiler=compiler)
    torch = Reranker.load(version, artefacts, device=asked.device)
    library = CrossEncoder(str(source), device=asked.device)
    texts = passages(asked.candidates, asked.words)
    pairs = [(QUERY, text) for text in texts]
    ways: dict[str, Callable[[], Any]] = {
        "CrossEncoder.predict": lambda: library.predict(pairs, show_progress_bar=False),
        "lockstep, torch": lambda: torch.score(QUERY, texts),
        "lockstep, compiled": lambda: compiled.score(QUERY, texts),
    }
    took = in_turn(ways, asked.rounds)
    rival = took["CrossEncoder.predict"]
    exact = ways["CrossEncoder.predict"]()
    report = compiled.report
    return {
        "candidates": asked.candidates,
        "tokens_each": round(float(np.mean([tokens(compiled, text) for text in texts])), 1),
        "compiled": report.precision or f"no: {report.reason}",
        "agreement": {name: each.cosine for name, each in report.agreements.items()},
        "ms_per_candidate": {name: round(ms / asked.candidates, 2) for name, ms in took.items()},
        "times_faster": {name: round(rival / ms, 2) for name, ms in took.items()},
        "largest_difference": {
            name: float(np.abs(score() - exact).max()) for name, score in ways.items()
        },
    }


def minilm_shaped(folder: Path) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = tiny_model(folder.with_name("tokenizer"), vocabulary=WORDS.split() + QUERY.split())
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(words), model_max_length=512)
    shape: Any = {  # its parameters are typed less than they take
        "vocab_size": 30_522,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "num_labels": 1,
    }
    config = BertConfig(**shape)
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def passages(count: int, words: int) -> list[str]:
    """Of half to one and a half times as many words."""
    random = np.random.default_rng(0)
    known = WORDS.split()
    lengths = random.integers(words // 2, words + words // 2 + 1, count)
    return [" ".join(random.choice(known, length)) for length in lengths]


def tokens(reranker: Reranker, text: str) -> int:
    """Of the pair, as the model sees it."""
    assert reranker._tokens is not None
    return len(reranker._tokens.pairs(QUERY, [text])[0].ids)


def in_turn(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of each way: the median."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for score in ways.values():
        score()
    for _ in range(rounds):
        for name, score in ways.items():
            started = time.perf_counter()
            score()
            took[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(each) for name, each in took.items()}


if __name__ == "__main__":
    main()
