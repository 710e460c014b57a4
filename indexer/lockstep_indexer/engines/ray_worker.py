"""What a Ray worker does: it holds the model, and encodes batches of documents."""

import os
import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lockstep.corpus.documents import Document
from lockstep.errors import EncodingFailed, LockstepError
from lockstep.index.passages import PassageSplitter, Windows
from lockstep.index.stages import ENCODE, SPLIT, TOKENS, Timings
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.encoder import Encoder
from lockstep.models.loading import fast_tokenizer, load_model, plain_copy
from lockstep.models.registry import ModelVersion
from lockstep.models.vectors import Vector
from lockstep.models.verification import installed_packages
from lockstep_indexer.encode.routes import go_on
from lockstep_indexer.encode.tokenizing import NotPlainTokens
from lockstep_indexer.engines.choosing import by_tokens
from lockstep_indexer.engines.encoding import ByLibrary, ByTokens, Encoding


@dataclass(frozen=True)
class Work:
    """What a worker needs to know to encode as all others do."""

    artefacts_url: str
    model: ModelVersion
    window_tokens: int
    encode_batch: int
    device: str
    threads: int | None  # None: as many as torch takes
    library: str = ""  # why the library encodes; empty: whatever is fastest and agrees
    compile: bool = False
    fp8: bool = False  # whether linear layers may be in eight bits


@dataclass(frozen=True)
class Loaded:
    """A worker that is ready, and how it encodes."""

    node: str
    process: int
    route: str  # what encodes: the vectors of two routes differ in their last bits
    told: str
    by_tokens_on_card: bool  # which takes larger batches than the library does, or a processor
    in_fp8: bool
    packages: Mapping[str, str]


@dataclass(frozen=True)
class Encoded:
    """A batch of documents: how each is cut, and the vectors of all passages."""

    windows: Sequence[Windows]
    vectors: Vector  # (passages, dim)
    tokens: int
    least_s: float
    timings: Timings


class EncodingWorker:
    """An actor: one process with one copy of the model. Two threads may be in it, so that a batch
    is cut and tokenized while another is encoded.

    What is wrong is returned, as errors of Ray's around it would tell where and not what.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._cutting, self._encoding_lock = threading.Lock(), threading.Lock()

    def load(self) -> Loaded | LockstepError:
        try:
            return self._loaded()
        except LockstepError as error:
            return error

    def encode(self, documents: Sequence[Document]) -> Encoded | LockstepError:
        try:
            return self._encoded(documents)
        except LockstepError as error:
            return error

    def _loaded(self) -> Loaded:
        import torch

        work = self._work
        if work.threads is not None:
            torch.set_num_threads(work.threads)
        artefacts = ArtefactStore(work.artefacts_url)
        folder = artefacts.fetch(work.model.digest)  # verified by its digest
        self._encoding, self._route, tokenizer = self._chosen(artefacts, folder)
        self._splitter = PassageSplitter(
            tokenizer, work.window_tokens, prompt=work.model.manifest.document_prompt
        )
        return Loaded(
            node=platform.node(),
            process=os.getpid(),
            route=self._route,
            told=self._encoding.told,
            by_tokens_on_card=isinstance(self._encoding, ByTokens) and self._encoding.on_card,
            in_fp8=self._encoding.in_fp8,
            packages=installed_packages(),
        )

    def _chosen(self, artefacts: ArtefactStore, folder: Path) -> tuple[Encoding, str, Tokenizer]:
        work = self._work
        if work.library:
            return self._by_library(artefacts, work.library)
        model = load_model(folder, device="cpu")
        tokenizer = fast_tokenizer(model)
        if tokenizer is None:
            return self._by_library(artefacts, "it has no fast tokenizer")
        plain = plain_copy(tokenizer)
        try:
            encoding = by_tokens(
                model, work.model.manifest, work.device, compile=work.compile, fp8=work.fp8
            )
        except (NotPlainTokens, EncodingFailed) as error:
            return self._by_library(artefacts, str(error))
        return encoding, encoding.route, plain

    def _by_library(self, artefacts: ArtefactStore, why: str) -> tuple[Encoding, str, Tokenizer]:
        work = self._work
        encoder = Encoder.load(work.model, artefacts, device=work.device)
        encoding = ByLibrary(encoder, batch_size=work.encode_batch, why=why, fp8_asked=work.fp8)
        return encoding, f"sentence-transformers, on {encoder.device}", encoder.tokenizer

    def _encoded(self, documents: Sequence[Document]) -> Encoded:
        timings = Timings()
        with self._cutting:
            with timings.of(SPLIT):
                windows = self._splitter.windows(documents)
                passages = [
                    passage
                    for each, document in zip(windows, documents, strict=True)
                    for passage in each.passages(document)
                ]
            with timings.of(TOKENS):
                tokens = self._encoding.tokens(passages)
        with self._encoding_lock, timings.of(ENCODE):
            vectors = self._encoding.vectors(passages, tokens, go_on)
        count = 0 if tokens is None else len(tokens.ids)
        return Encoded(windows, vectors, count, self._encoding.least_s(tokens), timings)


NOTHING = Encoded((), np.zeros((0, 0), np.float32), 0, 0.0, Timings())
