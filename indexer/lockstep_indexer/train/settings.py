"""How a model is to be trained."""

from dataclasses import asdict, dataclass
from enum import StrEnum

from lockstep.errors import InvalidSetting
from lockstep.models.manifest import Json

SMALLEST_DIM = 64


class Loss(StrEnum):
    """What training makes smaller."""

    RANKING = "ranking"  # multiple negatives ranking: the other passages of a batch are negatives
    CACHED_RANKING = "cached-ranking"  # the same for batches that do not fit in memory at once
    GIST = "gist"  # ranking, without the negatives that a guide model takes for answers
    CACHED_GIST = "cached-gist"
    TRIPLET = "triplet"  # a passage nearer than a negative, by a margin
    COSENT = "cosent"  # pairs in the order of their scores
    MARGIN_MSE = "margin-mse"  # a teacher's difference between a passage and a negative
    DISTILL = "distill"  # a teacher's vectors themselves

    @property
    def is_cached(self) -> bool:
        return self in (Loss.CACHED_RANKING, Loss.CACHED_GIST)

    @property
    def is_in_batch(self) -> bool:
        """Whether the other examples of a batch are negatives, so that none may repeat another."""
        return self in _CACHED or self.is_cached

    @property
    def cached(self) -> "Loss | None":
        """The same loss in little memory, where there is one."""
        return self if self.is_cached else _CACHED.get(self)

    @property
    def needs_teacher(self) -> bool:
        return self in (Loss.MARGIN_MSE, Loss.DISTILL)

    @property
    def needs_guide(self) -> bool:
        return self in (Loss.GIST, Loss.CACHED_GIST)

    def require_models(self, teacher: object | None, guide: object | None) -> None:
        """Raises InvalidSetting where a model that it learns from is missing."""
        if self.needs_teacher and teacher is None:
            raise InvalidSetting(
                f"The loss '{self}' needs a teacher: a model to learn from.",
                next_step="Name one: --teacher REF, or --teacher live",
            )
        if self.needs_guide and guide is None:
            raise InvalidSetting(
                f"The loss '{self}' needs a guide: a model that tells answers from negatives.",
                next_step="Name one: --guide REF",
            )


_CACHED = {Loss.RANKING: Loss.CACHED_RANKING, Loss.GIST: Loss.CACHED_GIST}


class Precision(StrEnum):
    """The numbers that a model's forward pass calculates in; weights and losses stay in fp32."""

    AUTO = "auto"  # what the processor is fast in
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. Where the other passages of a batch are negatives, batches want to be big.

    None leaves a choice to the data or the model. Shares are of all examples that are trained on.
    """

    loss: Loss | None = None
    matryoshka_dims: tuple[int, ...] | None = None  # (): the full vectors only
    epochs: float = 1.0
    batch_size: int = 32
    micro_batch: int = 32  # texts that a cached loss encodes at once
    learning_rate: float = 5e-5
    warmup: float = 0.1  # of all steps; then the rate falls to zero in a line
    max_grad_norm: float = 1.0
    max_tokens: int = 256
    precision: Precision = Precision.AUTO
    lora_rank: int = 0  # 0: all weights are trained
    query_prompt: str | None = None
    document_prompt: str | None = None
    mix_in_share: float = 0.0
    keep_share: float = 0.0
    blend: float = 1.0  # share of the trained weights in the result; the rest are the base's
    evaluations: int = 4  # while it trains, where there is something to evaluate by
    patience: int = 3  # evaluations without a gain before it stops
    seed: int = 7

    def __post_init__(self) -> None:
        _require("epochs", self.epochs, 0 < self.epochs <= 1000, "more than 0, at most 1000")
        _require("batch_size", self.batch_size, 2 <= self.batch_size <= 65_536, "2 to 65,536")
        _require("micro_batch", self.micro_batch, self.micro_batch >= 1, "1 or more")
        _require("learning_rate", self.learning_rate, 0 < self.learning_rate <= 1, "more than 0")
        _require("warmup", self.warmup, 0 <= self.warmup < 1, "0 to 1")
        _require("max_tokens", self.max_tokens, self.max_tokens >= 8, "8 or more")
        _require("lora_rank", self.lora_rank, 0 <= self.lora_rank <= 1024, "0 to 1024")
        _require("blend", self.blend, 0 < self.blend <= 1, "more than 0, at most 1")
        shares = (self.mix_in_share, self.keep_share)
        for name, share in zip(("mix_in_share", "keep_share"), shares, strict=True):
            _require(name, share, 0 <= share < 1 and sum(shares) < 1, "less than 1 together")

    def to_json(self) -> Json:
        return asdict(self)


def dims_for(dim: int, chosen: tuple[int, ...] | None) -> tuple[int, ...]:
    """The lengths that a model of `dim` dimensions is trained at, longest first; its own is one.

    By default each power of two below its own down to 64. Raises InvalidSetting for a length that
    the model does not have.
    """
    if chosen is None:
        powers = (2**power for power in range(SMALLEST_DIM.bit_length() - 1, dim.bit_length()))
        chosen = tuple(each for each in powers if each < dim)
    for each in chosen:
        if not 0 < each <= dim:
            raise InvalidSetting(
                f"{each} is no Matryoshka dimension of this model: its vectors have {dim}.",
                next_step=f"Give lengths from 1 to {dim}.",
            )
    return tuple(sorted({dim, *chosen}, reverse=True))


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise InvalidSetting(f"{name} is {value}; expected {expected}.")
