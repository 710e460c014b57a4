"""Mining with the parts of a workspace: its corpus, its models, its rerankers."""

from collections.abc import Iterator, Set

from lockstep.bootstrap import Workspace
from lockstep.models.manifest import Json
from lockstep_indexer.build.unregistered import examined
from lockstep_indexer.train.data.examples import TrainingData
from lockstep_indexer.train.negatives.indexed import indexed
from lockstep_indexer.train.negatives.mine import Listener, Mined, mine
from lockstep_indexer.train.negatives.passages import corpus_passages
from lockstep_indexer.train.negatives.queries import queries_of
from lockstep_indexer.train.negatives.settings import Mining
from lockstep_indexer.train.negatives.similarity import TextEncoder


def mine_corpus(
    workspace: Workspace,
    corpus: str,
    data: TrainingData,
    mining: Mining,
    *,
    model: str | None = None,
    reranker: str | None = None,
    held_out: Set[str] = frozenset(),
    listener: Listener | None = None,
) -> Mined:
    """Hard negatives of a corpus for pairs, by a model: without one, by the live version's.

    Raises CorpusNotFound, NoLiveIndex, ModelNotFound, RerankerNotFound, WrongModelKind, or
    InvalidInput for an empty corpus and for examples that are no pairs.
    """
    listener = listener or Listener()
    workspace.corpora.info(corpus)
    ref = model or workspace.rollouts.live(corpus).model_ref
    judge_version = workspace.rerankers.find(reranker) if reranker else None
    listener.stage("loading the model")
    with examined(workspace, ref) as found:
        judge = workspace.rerankers.get(judge_version) if judge_version else None
        listener.stage("reading the corpus")
        passages = corpus_passages(workspace, corpus, found.encoder)
        queries = queries_of(data, passages, held_out)
        known = None
        if queries.titled:  # as an index holds them
            listener.stage("reading the index")
            known = indexed(workspace, corpus, found.encoder, passages.all)
        encoder = TextEncoder(found.encoder, workspace.settings.encode_batch, listener.report)
        lineage = {
            "source": "mined negatives",
            "corpus": {"name": corpus, "head_seq": workspace.corpora.head_seq(corpus)},
            "model": {"ref": found.version.ref, "digest": found.version.digest},
            "index": known and known.to_json(),
            "reranker": judge_version
            and {"ref": judge_version.ref, "digest": judge_version.digest},
            "held_out_documents": len(held_out),
            "of": data.lineage,
        }
        return mine(
            queries,
            passages,
            encoder,
            mining,
            judge=judge,
            indexed=known,
            lineage=lineage,
            listener=listener,
        )


def rows_of(mined: TrainingData) -> Iterator[Json]:
    """Rows as files of hard negatives hold them."""
    for example in mined.examples:
        row = {"query": example.query, "positive": example.passage}
        row |= {f"negative_{n}": text for n, text in enumerate(example.negatives, start=1)}
        yield row | ({"document_id": example.group} if example.group else {})
