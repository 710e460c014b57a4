"""Which way the passages of a build are encoded: finding the fastest takes seconds itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.bootstrap import Workspace
from lockstep.errors import EncodingFailed
from lockstep.index.generation import Generation
from lockstep.models.encoder import Encoder
from lockstep.models.loading import load_model
from lockstep.models.manifest import ModelManifest
from lockstep.settings import Settings
from lockstep_indexer.encode.cached_tokenizer import CachedTokenizer
from lockstep_indexer.encode.ceiling import flops, matmul_ceiling
from lockstep_indexer.encode.passage_encoder import PassageEncoder
from lockstep_indexer.encode.token_cache import TokenCache
from lockstep_indexer.encode.tokenizing import NotPlainTokens, PassageTokenizer
from lockstep_indexer.encode.tokens import Tokens
from lockstep_indexer.engines.encoding import ByLibrary, ByTokens, Encoding
from lockstep_indexer.engines.local import LocalEngine

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Characters to encode times bytes of the model, from which on choosing costs less than it saves:
# 80 documents of 1,400 characters by MiniLM. Measured on two cores; a card is so much faster that
# encoding 30,000 documents of that kind by a BERT-base takes as long as choosing.
WORTH_ON_CPU = 1e13
WORTH_ON_CARD = 1e16
# From where on a card saves more than the minute that torch takes to compile the model: ten minutes
# of a BERT-base, of which a tenth is saved.
WORTH_COMPILING = 2e18
_SAMPLE = 32
TOO_LITTLE = "there is too little to encode for choosing a faster way"

# A card encodes a few hundred documents in less time than it takes to give it the next.
CARD_DOCUMENTS = 4_096


def local_engine(
    workspace: Workspace, generation: Generation, *, find: Callable[[], Path] | None = None
) -> LocalEngine:
    """For a build of a whole corpus. Choosing loads the model once more, in single precision.

    `find` finds the files of a model that is not registered.
    """
    encoder = generation.encoder
    digest = encoder.version.digest
    encoding = encoding_for(
        workspace,
        generation.version.corpus,
        encoder,
        find or (lambda: workspace.artefacts.fetch(digest)),
        late=generation.tokens is not None,
        fp8=generation.version.spec.fp8,
    )
    batch = workspace.settings.batch_documents
    if not isinstance(encoding, ByTokens):
        return LocalEngine(encoding, workspace.settings.encode_batch, batch)
    if encoding.on_card:
        batch = max(batch, CARD_DOCUMENTS)
    tokenizer = partial(_through_the_cache, workspace.settings, encoding.tokenizer)
    return LocalEngine(encoding, workspace.settings.encode_batch, batch, tokenizer=tokenizer)


@contextmanager
def _through_the_cache(
    settings: Settings, tokenizer: PassageTokenizer, generation: Generation
) -> Iterator[CachedTokenizer]:
    digest = generation.encoder.version.digest
    with TokenCache.of(settings) as cache:
        yield CachedTokenizer(generation.splitter, tokenizer, cache, model=digest)


def encoding_for(
    workspace: Workspace,
    corpus: str,
    encoder: Encoder,
    find: Callable[[], Path],
    *,
    late: bool,
    fp8: bool,
) -> Encoding:
    """The fastest route that agrees, of the model whose files `find` finds; else the library.

    `late`: whether vectors of tokens are encoded too; `fp8`: whether it may be in eight bits.
    """
    library = partial(ByLibrary, encoder, batch_size=workspace.settings.encode_batch, fp8_asked=fp8)
    if late:
        return library(why="the vectors of tokens come from it")
    manifest = encoder.version.manifest
    work = whole_work(workspace, corpus, manifest)
    if not is_worth_choosing(work, on_card=encoder.device.startswith("cuda")):
        return library(why=TOO_LITTLE)
    try:
        model = load_model(find(), device="cpu")  # of its own: it is changed
        compile = work >= WORTH_COMPILING
        return by_tokens(model, manifest, encoder.device, compile=compile, fp8=fp8)
    except (NotPlainTokens, EncodingFailed) as error:
        return library(why=str(error))


def is_worth_choosing(work: float, *, on_card: bool) -> bool:
    return work >= (WORTH_ON_CARD if on_card else WORTH_ON_CPU)


def whole_work(workspace: Workspace, corpus: str, manifest: ModelManifest) -> float:
    """Characters times bytes of the model: of the whole corpus, as a build that goes on must encode
    as it has begun to.
    """
    documents = workspace.corpora.sample(corpus, _SAMPLE, seed=0)
    characters = sum(len(each.title) + len(each.text) for each in documents)
    whole = workspace.corpora.count(corpus) * characters / max(1, len(documents))
    return whole * manifest.size


def by_tokens(
    model: "SentenceTransformer",
    manifest: ModelManifest,
    device: str,
    *,
    compile: bool = False,
    fp8: bool = False,
) -> ByTokens:
    """By a model on the CPU that nobody else uses. Raises NotPlainTokens or EncodingFailed."""
    encoder = PassageEncoder.choose(model, manifest, device=device, compile=compile, fp8=fp8)
    if not encoder.on_card:
        return ByTokens(encoder)
    first: Any = model[0]
    inner = getattr(first, "model", None)
    ceiling = matmul_ceiling(device)

    def least_s(tokens: Tokens) -> float:
        least = flops(inner, tokens.lengths) / ceiling
        return 0.0 if isnan(least) else least

    return ByTokens(encoder, least_s=least_s)
