"""Passages to vectors by the fastest route that agrees with the library."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from lockstep.errors import EncodingFailed
from lockstep.models.agreement import MAX_MEASURED_TOKENS
from lockstep.models.loading import usable_device
from lockstep.models.manifest import ModelManifest
from lockstep.models.vectors import Vector, unusable_rows
from lockstep_indexer.encode.choice import Choosing, RouteReport, first_that_agrees
from lockstep_indexer.encode.numerics import Sample
from lockstep_indexer.encode.routes import Check, Route, go_on
from lockstep_indexer.encode.tokenizing import PassageTokenizer
from lockstep_indexer.encode.tokens import Tokens

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_TEXTS_AHEAD = 2_048  # that are tokenized while as many are encoded
_LONGEST_ON_CARD = 8_192  # tokens that are compared; longer ones would take minutes on a CPU


class PassageEncoder:
    """A model version's passages, tokenized and encoded in bulk. For one thread at a time.

    The same tokens in the same order give the same bits on a CPU.
    """

    def __init__(
        self, tokenizer: PassageTokenizer, route: Route, report: RouteReport, *, dim: int
    ) -> None:
        self.tokenizer = tokenizer
        self.report = report
        self.dim = dim
        self._route = route

    @classmethod
    def choose(
        cls,
        model: "SentenceTransformer",
        manifest: ModelManifest,
        *,
        device: str | None = None,
        compile: bool = False,
        fp8: bool = False,
    ) -> "PassageEncoder":
        """For a model in single precision on the CPU, which it uses from then on.

        `compile` has torch compile the model for a card: worth a minute from some million passages
        on. `fp8` lets linear layers be in eight bits where the card has them; vectors may then be
        as far off as `precision.IN_FP8`. Raises NotPlainTokens where the model reads more than
        token ids, InvalidSetting where there is no such device, and EncodingFailed where no route
        agrees.
        """
        _check(model)
        chosen = usable_device(device)
        model.eval()
        tokenizer = PassageTokenizer(model, manifest.document_prompt, manifest.max_tokens)
        longest = MAX_MEASURED_TOKENS if chosen == "cpu" else _LONGEST_ON_CARD
        sample = Sample.of(model, tokenizer, longest=longest)
        choosing = Choosing(
            model, manifest.document_prompt, _left_out(model, manifest), chosen, compile, fp8
        )
        route, report = first_that_agrees(choosing.routes(), sample)
        return cls(tokenizer, route, report, dim=manifest.dim)

    @property
    def name(self) -> str:
        return self._route.name

    @property
    def on_card(self) -> bool:
        """Whether the chosen route is on one; a card may have been left to the processor."""
        return self._route.device.startswith("cuda")

    @property
    def in_fp8(self) -> bool:
        return self._route.in_fp8

    def encode(self, tokens: Tokens, *, check: Check = go_on) -> Vector:
        """(n, dim), L2-normalised, in the order of the passages. `check` may end it early.

        Raises EncodingFailed or DeviceMemoryFull.
        """
        if not len(tokens):
            return np.zeros((0, self.dim), dtype=np.float32)
        if len(empty := np.flatnonzero(tokens.lengths == 0)):
            raise EncodingFailed(
                f"{len(empty)} of {len(tokens)} passages have no tokens; the first is passage "
                f"{empty[0] + 1}. This model's tokenizer adds none to an empty text.",
                next_step="Give the documents a text, or take them out.",
            )
        vectors = self._route.encode(tokens, check=check)
        if len(failed := unusable_rows(vectors)):
            raise EncodingFailed(
                f"The route '{self.name}' gave NaN, infinity or only zeros for {len(failed)} of "
                f"{len(tokens)} passages; the first is passage {failed[0] + 1}.",
                next_step="Encode on another device: half precision may overflow.",
            )
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        """Tokenized and encoded, the next some thousands of texts tokenized while these are
        encoded. Raises InvalidInput too.
        """
        starts = range(0, max(1, len(texts)), _TEXTS_AHEAD)
        first, *more = (texts[start : start + _TEXTS_AHEAD] for start in starts)
        vectors = []
        with ThreadPoolExecutor(1, "tokenizer") as tokenizing:
            coming = tokenizing.submit(self.tokenizer.tokens, first)
            for following in (*more, ()):
                tokens = coming.result()
                coming = tokenizing.submit(self.tokenizer.tokens, following)
                vectors.append(self.encode(tokens))
        return np.concatenate(vectors)


def _check(model: "SentenceTransformer") -> None:
    kinds = {(weight.device.type, weight.dtype) for weight in model.parameters()}
    if kinds != {("cpu", torch.float32)}:
        raise ValueError(f"the model's weights are {kinds}; expected float32 on the CPU")


def _left_out(model: "SentenceTransformer", manifest: ModelManifest) -> int:
    """The tokens of the prompt that pooling leaves out; 0 where it leaves out none."""
    pooled = any(getattr(module, "include_prompt", True) is False for module in model)
    if not pooled or not manifest.document_prompt:
        return 0
    return int(model.preprocess([""], prompt=manifest.document_prompt)["prompt_length"])
