"""Embeddings in OpenAI's shape, by the model that searches: what encodes queries encodes these."""

import base64
from collections.abc import Sequence

from fastapi import APIRouter

from lockstep.api.caller import Charge, SearchCaller
from lockstep.api.problems import documented
from lockstep.api.running import RunningDep
from lockstep.api.schemas.embeddings import (
    EmbeddingsBody,
    EmbeddingsView,
    EmbeddingView,
    Encoding,
    InputType,
    UsageView,
)
from lockstep.errors import AccessDenied, SearchUnsupported
from lockstep.models.encoder import Encoder
from lockstep.store.deadline import within
from lockstep.store.port import Vector

router = APIRouter(prefix="/v1", tags=["embeddings"])


@router.post("/embeddings", responses=documented(404, 409, 413, 415, 422, 500, 503))
def embeddings(
    body: EmbeddingsBody, running: RunningDep, caller: SearchCaller, charge: Charge
) -> EmbeddingsView:
    """Encode texts with the model of a corpus's live index version; `model` names the corpus.

    A promotion changes the model, and with it the space: `model` and `index_version` of the answer
    say which one it was. Vectors of different models must not be compared. Each text counts in the
    rate of the key.
    """
    if not caller.reaches(body.model):
        raise AccessDenied("The key does not reach the corpus that `model` names.")
    texts = [body.input] if isinstance(body.input, str) else body.input
    charge(len(texts) - 1)
    generation = running.workspace.serving.current(body.model)
    with within(running.workspace.settings.search_timeout_s):
        vectors = _encoded(generation.encoder, texts, body)
    tokens = _tokens(generation.encoder, texts)
    return EmbeddingsView(
        data=[
            EmbeddingView(index=index, embedding=_written(vector, body.encoding_format))
            for index, vector in enumerate(vectors)
        ],
        model=generation.version.model_ref,
        index_version=generation.collection,
        usage=UsageView(prompt_tokens=tokens, total_tokens=tokens),
    )


def _encoded(encoder: Encoder, texts: Sequence[str], body: EmbeddingsBody) -> Vector:
    """(n, dimensions), L2-normalised. Raises SearchUnsupported."""
    dims = encoder.version.manifest.matryoshka_dims
    if body.dimensions is not None and body.dimensions not in (*dims, encoder.dim):
        raise SearchUnsupported(
            f"dimensions is {body.dimensions}; {encoder.version.ref} gives "
            f"{', '.join(map(str, sorted({*dims, encoder.dim})))}.",
            next_step="Leave dimensions out for the whole vector.",
        )
    passages = body.input_type is InputType.PASSAGE
    vectors = encoder.encode_passages(texts) if passages else encoder.encode_queries(texts)
    if body.dimensions in (None, encoder.dim):
        return vectors
    return encoder.truncate(vectors, body.dimensions)


def _tokens(encoder: Encoder, texts: Sequence[str]) -> int:
    encodings = encoder.tokenizer.encode_batch(list(texts))
    return sum(min(len(encoding.ids), encoder.max_tokens) for encoding in encodings)


def _written(vector: Vector, encoding: Encoding) -> list[float] | str:
    if encoding is Encoding.FLOAT:
        numbers: list[float] = vector.tolist()
        return numbers
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
