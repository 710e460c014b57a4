"""Synthetic questions with the parts of a workspace: its corpus, its models, its settings."""

from collections.abc import Callable, Set
from dataclasses import dataclass

from lockstep.bootstrap import Workspace
from lockstep_indexer.build.unregistered import examined
from lockstep_indexer.train.negatives.passages import Passages, corpus_passages
from lockstep_indexer.train.negatives.similarity import TextEncoder
from lockstep_indexer.train.questions.asking import Asker
from lockstep_indexer.train.questions.budget import Budget
from lockstep_indexer.train.questions.cache import CACHE_NAME, AnswerCache
from lockstep_indexer.train.questions.endpoint import ChatEndpoint
from lockstep_indexer.train.questions.generate import Choice, Generated, RoundTrip, generate
from lockstep_indexer.train.questions.prompt import Prompt
from lockstep_indexer.train.questions.round_trip import Scorer, by_bm25, by_model


@dataclass(frozen=True)
class Listener:
    """Whom to tell how it gets on."""

    stage: Callable[[str], None] = lambda _: None
    report: Callable[[int, int], None] = lambda done, total: None


def ask_about(
    workspace: Workspace,
    corpus: str,
    endpoint: ChatEndpoint,
    prompt: Prompt,
    budget: Budget,
    choice: Choice,
    *,
    model: str | None = None,
    concurrency: int = 4,
    held_out: Set[str] = frozenset(),
    listener: Listener | None = None,
) -> Generated:
    """Questions that passages of a corpus answer; `model` cuts the passages and searches them.

    Without one, the live version's. Raises CorpusNotFound, NoLiveIndex, ModelNotFound, InvalidInput
    for an empty corpus, InvalidSetting or ChatUnavailable.
    """
    listener = listener or Listener()
    workspace.corpora.info(corpus)
    ref = model or workspace.rollouts.live(corpus).model_ref
    listener.stage("loading the model")
    with (
        examined(workspace, ref) as found,
        AnswerCache(workspace.settings.data / "questions" / CACHE_NAME) as cache,
    ):
        passages = corpus_passages(workspace, corpus, found.encoder)
        encoder = TextEncoder(found.encoder, workspace.settings.encode_batch, listener.report)
        asker = Asker(endpoint, cache, prompt, budget, concurrency, listener.report)
        lineage = {
            "source": "synthetic questions",
            "corpus": {"name": corpus, "head_seq": workspace.corpora.head_seq(corpus)},
            "model": {"ref": found.version.ref, "digest": found.version.digest},
            "held_out_documents": len(held_out),
        }
        return generate(
            passages,
            asker,
            choice,
            _scorer(choice, passages, encoder),
            held_out=held_out,
            lineage=lineage,
            stage=listener.stage,
        )


def _scorer(
    choice: Choice, passages: Passages, encoder: TextEncoder
) -> Callable[[], Scorer] | None:
    """Made when it is needed: encoding a corpus takes long, and may be for nothing."""
    if choice.round_trip is RoundTrip.MODEL:
        return lambda: by_model(passages, encoder)
    if choice.round_trip is RoundTrip.BM25:
        return lambda: by_bm25(passages, choice.language)
    return None
