"""Training examples from judgments: queries, and the passages that were found relevant to them."""

from collections.abc import Mapping
from pathlib import Path

from lockstep.corpus.documents import Document, shown
from lockstep.corpus.qrels import read_query_set
from lockstep.corpus.query_sets import QuerySet
from lockstep.errors import InvalidInput
from lockstep.index.passages import encoded_text
from lockstep.models.manifest import Json
from lockstep_indexer.train.data.documents import Documents, FileDocuments
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.data.records import identity, is_table

_QRELS_FOLDER = "qrels"


def is_judged(path: Path) -> bool:
    """Whether a path is a folder, or a file without named fields: then it holds judgments."""
    return path.is_dir() or not is_table(path)


def read_judged(
    path: Path,
    *,
    split: str = "train",
    queries: Path | None = None,
    documents: Documents | None = None,
) -> TrainingData:
    """The relevant passages of a BEIR folder's split, or of a qrels file.

    A file that lies in a BEIR folder finds its queries and documents there; `documents` go before
    those of the folder. Raises InvalidInput.
    """
    folder, split = _folder(path, split)
    query_set = read_query_set(folder or path, queries=queries, split=split, name="judged")
    if documents is None:
        if folder is None:
            raise InvalidInput(
                f"'{path}' names documents, and nothing says where their texts are.",
                next_step="Give a BEIR folder, or the corpus that holds them: --corpus NAME",
            )
        documents = FileDocuments(folder)
    qrels = folder / _QRELS_FOLDER / f"{split}.tsv" if folder else path
    examples, notes = examples_of(query_set, documents, str(qrels))
    files = [{**identity(qrels), "examples": len(examples)}]
    if queries is not None:
        files.append(identity(queries))
    lineage: Json = {"files": files, "notes": notes, "documents": documents.lineage}
    return TrainingData(Kind.QRELS, examples, lineage)


def examples_of(
    query_set: QuerySet, documents: Documents, source: str
) -> tuple[list[Example], list[str]]:
    """One example for each relevant document, and notes on what was left out.

    A document that is gone, or says nothing but the query, is left out. Raises InvalidInput where
    none is left.
    """
    relevant = [
        (query_set.queries[query_id], document_id, grade)
        for query_id, judged in query_set.judgments.items()
        for document_id, grade in judged.items()
        if grade > 0
    ]
    texts = _texts(documents(sorted({document_id for _, document_id, _ in relevant})))
    there = [one for one in relevant if one[1] in texts]
    if not there:
        example = f", for example '{shown(relevant[0][1])}'" if relevant else ""
        raise InvalidInput(
            f"'{source}' has {len(relevant):,} relevant documents, and none of them is there"
            f"{example}; expected the ids of documents of the corpus.",
        )
    examples = [
        Example((query, texts[document_id]), group=document_id, score=float(grade))
        for query, document_id, grade in there
        if query.strip() != texts[document_id].strip()
    ]
    left_out = {
        "judgments of documents that are gone": len(relevant) - len(there),
        "documents that say nothing but the query": len(there) - len(examples),
    }
    return examples, [f"Left out: {count:,} {what}." for what, count in left_out.items() if count]


def _texts(found: Mapping[str, Document]) -> dict[str, str]:
    return {key: encoded_text(one.title, one.text) for key, one in found.items()}


def _folder(path: Path, split: str) -> tuple[Path | None, str]:
    """The BEIR folder that a path is, or whose judgments it is; and which of them."""
    if path.is_dir():
        return path, split
    parent = path.absolute().parent
    if parent.name == _QRELS_FOLDER and any(parent.parent.glob("corpus.jsonl*")):
        return parent.parent, path.stem
    return None, split
