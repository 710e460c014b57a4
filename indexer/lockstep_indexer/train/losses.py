"""The losses: sentence-transformers' own, at every Matryoshka dimension at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lockstep_indexer.train.settings import Loss

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


def make_loss(
    model: "SentenceTransformer",
    loss: Loss,
    *,
    dims: Sequence[int],
    micro_batch: int,
    guide: "SentenceTransformer | None" = None,
) -> "nn.Module":
    """The loss of a model, summed over its dimensions where there are several.

    Source: Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022.
    """
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

    made = _plain(model, loss, micro_batch, guide)
    if len(dims) < 2:
        return made
    return MatryoshkaLoss(model, made, matryoshka_dims=list(dims))


def _plain(
    model: "SentenceTransformer", loss: Loss, micro_batch: int, guide: "SentenceTransformer | None"
) -> "nn.Module":
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.util import pairwise_cos_sim

    match loss:
        case Loss.RANKING:
            return losses.MultipleNegativesRankingLoss(model)
        case Loss.CACHED_RANKING:
            return losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=micro_batch)
        case Loss.GIST:
            return losses.GISTEmbedLoss(model, _given(guide), temperature=0.05)
        case Loss.CACHED_GIST:
            return losses.CachedGISTEmbedLoss(
                model, _given(guide), temperature=0.05, mini_batch_size=micro_batch
            )
        case Loss.TRIPLET:
            cosine = losses.TripletDistanceMetric.COSINE
            return losses.TripletLoss(model, distance_metric=cosine, triplet_margin=0.2)
        case Loss.COSENT:
            return losses.CoSENTLoss(model)
        case Loss.MARGIN_MSE:
            # Teachers' scores are cosines, or chances from 0 to 1: differences of one scale.
            return losses.MarginMSELoss(model, similarity_fct=pairwise_cos_sim)
        case Loss.DISTILL:
            return losses.EmbedDistillLoss(model, distance_metric="cosine")


def _given(guide: "SentenceTransformer | None") -> Any:
    return guide
