"""Ways in which an index version can be wrong, to test the gates with."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from lockstep.bootstrap import Workspace
from lockstep.corpus.documents import Document
from lockstep.index.generation import Generation
from lockstep.store.port import DOCUMENT_ID, Points

Fault = Callable[[Workspace, Generation, np.random.Generator], None]

_SHARE = 0.01
_AT_ONCE = 256


def noised_model(source: Path, target: Path, *, scale: float, seed: int) -> Path:
    """Copy a model folder with noise on every weight: `scale` standard deviations of its tensor."""
    rng = np.random.default_rng(seed)
    for path in sorted(source.rglob("*")):
        copied = target / path.relative_to(source)
        if path.is_dir():
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".safetensors":
            copied.write_bytes(path.read_bytes())
            continue
        weights = load_file(path)
        for name, weight in weights.items():
            if np.issubdtype(weight.dtype, np.floating) and weight.size > 1:
                noise = rng.normal(0, scale * float(weight.std()), weight.shape)
                weights[name] = (weight + noise).astype(weight.dtype)
        save_file(weights, copied, metadata={"format": "pt"})
    return target


def shuffled_ids(workspace: Workspace, generation: Generation, rng: np.random.Generator) -> None:
    """Every vector belongs to another passage."""
    points = _points(workspace, generation, _documents(workspace, generation))
    order = rng.permutation(len(points))
    prefilter = None if points.prefilter is None else points.prefilter[order]
    _write(workspace, generation, replace(points, dense=points.dense[order], prefilter=prefilter))


def missing_documents(
    workspace: Workspace, generation: Generation, rng: np.random.Generator
) -> None:
    """One document of a hundred has no points."""
    lost = [document.id for document in _some(workspace, generation, rng)]
    matching = {"must": [{"key": DOCUMENT_ID, "match": {"any": lost}}]}
    workspace.store.delete(generation.collection, matching)


def stale_vectors(workspace: Workspace, generation: Generation, rng: np.random.Generator) -> None:
    """One document of a hundred has the vectors of an earlier text, under its present hash."""
    documents = _some(workspace, generation, rng)
    right = _points(workspace, generation, documents)
    earlier = [_earlier(passage.encoded_text) for passage in generation.passages(documents)]
    dense = generation.encoder.encode_passages(earlier)  # (n, dim)
    stale = replace(right, dense=dense, prefilter=generation.prefilter_vectors(dense))
    _write(workspace, generation, stale)


def stale_words(workspace: Workspace, generation: Generation, rng: np.random.Generator) -> None:
    """One document of a hundred has the BM25 weights and the words of an earlier text."""
    documents = _some(workspace, generation, rng)
    right = _points(workspace, generation, documents)
    earlier = [_earlier(passage.encoded_text) for passage in generation.passages(documents)]
    payloads = [
        {**payload, "text": text} for payload, text in zip(right.payloads, earlier, strict=True)
    ]
    bm25 = generation.lexical.encode_passages(earlier)
    _write(workspace, generation, replace(right, bm25=bm25, payloads=payloads))


def wrong_prompts(workspace: Workspace, generation: Generation, _: np.random.Generator) -> None:
    """Every passage was encoded with a prompt that was cut short."""
    encoder = copy.copy(generation.encoder)
    manifest = encoder.version.manifest
    prompt = manifest.document_prompt
    short = prompt[: len(prompt) // 2] or "query: "
    encoder.version = replace(encoder.version, manifest=replace(manifest, document_prompt=short))
    documents = _documents(workspace, generation)
    _write(
        workspace, generation, _points(workspace, replace(generation, encoder=encoder), documents)
    )


FAULTS: dict[str, Fault] = {
    "shuffled ids": shuffled_ids,
    "1 % missing": missing_documents,
    "1 % stale vectors": stale_vectors,
    "1 % stale words": stale_words,
    "wrong prompts": wrong_prompts,
}


def mended(workspace: Workspace, generation: Generation) -> None:
    """Write every point again as it should be."""
    points = _points(workspace, generation, _documents(workspace, generation))
    _write(workspace, generation, points)


def _documents(workspace: Workspace, generation: Generation) -> list[Document]:
    return list(workspace.corpora.spread(generation.version.corpus, 1 << 30))


def _some(workspace: Workspace, generation: Generation, rng: np.random.Generator) -> list[Document]:
    documents = _documents(workspace, generation)
    count = max(1, round(_SHARE * len(documents)))
    return [documents[at] for at in rng.choice(len(documents), count, replace=False)]


def _points(workspace: Workspace, generation: Generation, documents: Sequence[Document]) -> Points:
    batch_size = workspace.settings.encode_batch
    return generation.points(generation.passages(documents), batch_size=batch_size)


def _write(workspace: Workspace, generation: Generation, points: Points) -> None:
    for start in range(0, len(points), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        part = Points(
            ids=points.ids[rows],
            dense=points.dense[rows],
            prefilter=None if points.prefilter is None else points.prefilter[rows],
            bm25=points.bm25[rows],
            payloads=points.payloads[rows],
        )
        workspace.store.upsert(generation.collection, part)
    workspace.store.flush(generation.collection)


def _earlier(text: str) -> str:
    """What the text may have been before somebody rewrote it."""
    words = text.split()
    return " ".join(words[: max(1, len(words) // 3)])
