"""Mining by a real tiny model: what is never taken, what is, and what the library finds."""

import itertools
import json
from pathlib import Path

import datasets
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives
from small_corpus import text_of

from lockstep.bootstrap import Workspace
from lockstep.corpus.documents import Document
from lockstep.errors import CorpusNotFound, InvalidInput, NoLiveIndex, RerankerNotFound
from lockstep_indexer.train.data.examples import Entailment, Example, Kind, TrainingData
from lockstep_indexer.train.data.reading import read_training_data
from lockstep_indexer.train.data.row_files import lineage_path, require_writable, write_rows
from lockstep_indexer.train.negatives.mine import Mined
from lockstep_indexer.train.negatives.passages import corpus_passages
from lockstep_indexer.train.negatives.queries import queries_of
from lockstep_indexer.train.negatives.run import mine_corpus, rows_of
from lockstep_indexer.train.negatives.settings import Mining, Source

ONLY_MODEL = {Source.MODEL: 1.0}


def titled(number: int) -> str:
    return f"Title {number}\n{text_of(number)}"


def pairs(*numbers: int, query: str = "") -> TrainingData:
    """Each document's words, turned round, ask for it."""
    examples = [
        Example((query or " ".join(text_of(n).split()[::-1]), titled(n)), group=f"d{n}")
        for n in numbers
    ]
    return TrainingData(Kind.PAIRS, examples, {"files": []})


def mined(workspace: Workspace, data: TrainingData, mining: Mining, **more: object) -> Mined:
    return mine_corpus(workspace, "docs", data, mining, model="tiny@1", **more)  # type: ignore[arg-type]


def negatives_of(found: Mined) -> list[tuple[str, ...]]:
    return [example.negatives for example in found.data.examples]


def test_answers_and_what_repeats_them_are_never_taken(workspace: Workspace) -> None:
    """Not those of other examples of the query either, in whatever case it is written."""
    asked = "river stone"
    examples = [
        Example((asked, titled(3))),  # known by its text alone, which d38 and d39 repeat
        Example((asked, "A part of it."), group="d7"),
        Example(("River  STONE", titled(9).upper()), group="a digest"),
        Example(("another", titled(5))),
    ]
    passages = corpus_passages(workspace, "docs", workspace.encoders.get("tiny@1"))
    found = queries_of(TrainingData(Kind.PAIRS, examples, {}), passages, {"d1"})
    barred = [{passages.all[place].document_id for place in one.barred} for one in found.all]
    assert barred == [{"d3", "d38", "d39", "d7", "d9", "d1"}, {"d5", "d1"}]


def test_every_passage_of_an_answers_document_is_barred(workspace: Workspace) -> None:
    long = Document("long", " ".join(text_of(n) for n in range(12)), title="Long")
    workspace.corpora.create("long")
    workspace.corpora.write("long", [long, Document("d1", text_of(1))])
    passages = corpus_passages(workspace, "long", workspace.encoders.get("tiny@1"))
    data = TrainingData(Kind.PAIRS, [Example(("q", f"Long\n{long.text}"))], {})
    [query] = queries_of(data, passages, set()).all
    assert len(passages) > 3
    assert {passages.all[place].document_id for place in query.barred} == {"long"}
    assert len(query.barred) == len(passages) - 1


def test_the_library_finds_the_same(workspace: Workspace) -> None:
    data = pairs(*range(10, 26))
    mining = Mining(negatives=3, depth=20, margin=0.05, shares=ONLY_MODEL)
    ours = mined(workspace, data, mining)
    folder = workspace.artefacts.fetch(workspace.models.resolve("tiny@1").digest)
    corpus = [titled(n) for n in range(38)]  # the last two repeat a text
    theirs = mine_hard_negatives(
        datasets.Dataset.from_list(
            [{"query": one.query, "positive": one.passage} for one in data.examples]
        ),
        SentenceTransformer(str(folder), device="cpu"),
        corpus=corpus,
        range_max=20,
        relative_margin=0.05,
        num_negatives=3,
        output_format="n-tuple",
        verbose=False,
    )
    expected = {row["query"]: {row[f"negative_{n}"] for n in (1, 2, 3)} for row in theirs}
    assert {one.query: set(one.negatives) for one in ours.data.examples} == expected
    assert ours.counts.short == len(data) - len(expected)
    assert ours.counts.too_close > 0


def test_sources_are_mixed_and_the_margin_holds_for_both(workspace: Workspace) -> None:
    data = pairs(*range(10, 30))
    found = mined(
        workspace, data, Mining(negatives=4, shares={Source.MODEL: 0.25, Source.BM25: 0.75})
    )
    taken = found.counts.taken
    assert sum(taken.values()) == 4 * found.counts.pairs == 4 * len(found.data)
    assert taken[Source.BM25] > taken[Source.MODEL] > 0
    encoder = workspace.encoders.get("tiny@1")
    for example in found.data.examples:
        [query] = encoder.encode_queries([example.query])
        scores = encoder.encode_passages([example.passage, *example.negatives]) @ query
        assert scores[1:].max() <= scores[0] - abs(scores[0]) * 0.05 + 1e-5
        assert list(scores[1:]) == sorted(scores[1:], reverse=True)


def test_mining_again_gives_the_same_to_the_byte(workspace: Workspace, tmp_path: Path) -> None:
    data = pairs(*range(10, 20))
    mining = Mining(negatives=2, pick="random", margin=0.2)
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path in paths:
        found = mined(workspace, data, mining)
        write_rows(path, rows_of(found.data), found.data.lineage)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    other = mined(workspace, data, Mining(negatives=2, pick="random", margin=0.2, seed=8))
    assert negatives_of(other) != negatives_of(found)
    lineage = json.loads(lineage_path(paths[0]).read_text())
    assert (lineage["model"]["ref"], lineage["mining"]["margin"]) == ("tiny@1", 0.2)
    read = read_training_data([paths[0]])
    assert (read.kind, read.fingerprint) == (Kind.HARD_NEGATIVES, found.data.fingerprint)
    [file] = read.lineage["files"]
    assert file["made_by"]["mining"] == mining.to_json()
    paths[0].write_bytes(paths[0].read_bytes() + b"\n")  # other bytes, of which nothing is known
    assert "made_by" not in read_training_data([paths[0]]).lineage["files"][0]
    first = json.loads(paths[0].read_text().splitlines()[0])
    assert list(first) == ["query", "positive", "negative_1", "negative_2", "document_id"]


def test_held_out_documents_are_no_negatives(workspace: Workspace) -> None:
    data = pairs(*range(10, 16))
    before = set(itertools.chain(*negatives_of(mined(workspace, data, Mining()))))
    out = sorted(before)[:3]
    ids = {"d" + text.split()[1] for text in out}
    after = set(itertools.chain(*negatives_of(mined(workspace, data, Mining(), held_out=ids))))
    assert after
    assert not after & set(out)


def test_a_reranker_throws_out_what_it_takes_for_answers(workspace: Workspace) -> None:
    data = pairs(*range(10, 20))
    mining = Mining(negatives=2, reranker_margin=0.0)
    found = mined(workspace, data, mining, reranker="judge")
    assert found.counts.reranked_out > 0
    judge = workspace.rerankers.get(workspace.rerankers.find("judge"))
    for one in found.data.examples:
        scores = judge.score(one.query, one.texts[1:])
        assert scores[1:].max() <= scores[0] + 1e-5
    with pytest.raises(RerankerNotFound):
        mined(workspace, data, mining, reranker="nobody")


def test_negatives_have_no_title_where_answers_have_none(workspace: Workspace) -> None:
    examples = [Example((f"{text_of(n)} ?", text_of(n))) for n in range(10, 16)]
    found = mined(workspace, TrainingData(Kind.PAIRS, examples, {}), Mining(negatives=2))
    assert found.queries.strangers == 0
    assert not any("Title" in text for text in itertools.chain(*negatives_of(found)))


def test_missing_negatives_are_made_up_at_random_where_asked(workspace: Workspace) -> None:
    data = pairs(*range(10, 20))
    scarce = Mining(negatives=6, depth=6, skip=0, margin=0.05, shares=ONLY_MODEL)
    filled = Mining(negatives=6, depth=6, skip=0, margin=0.05, shares=ONLY_MODEL, fill=True)
    left_out = mined(workspace, data, scarce).counts.short
    made_up = mined(workspace, data, filled)
    assert left_out > 0
    assert made_up.counts.filled > 0
    assert made_up.counts.short < left_out
    assert all(len(set(row)) == 6 for row in negatives_of(made_up))


def test_what_cannot_be_mined_is_refused(workspace: Workspace) -> None:
    data = pairs(10, 11)
    nli = TrainingData(Kind.NLI, [Example(("a", "b"), label=Entailment.NEUTRAL)], {})
    grades = TrainingData(Kind.QRELS, [Example(("a", titled(3)), score=0.0)], {})
    with pytest.raises(InvalidInput, match="'nli' have no query"):
        mined(workspace, nli, Mining())
    with pytest.raises(InvalidInput, match="None of the 1 examples"):
        mined(workspace, grades, Mining())
    with pytest.raises(InvalidInput, match="'empty' has no documents"):
        mine_corpus(workspace, "empty", data, Mining(), model="tiny@1")
    with pytest.raises(NoLiveIndex):
        mine_corpus(workspace, "docs", data, Mining())
    with pytest.raises(CorpusNotFound):
        mine_corpus(workspace, "nowhere", data, Mining())


def test_answers_outside_the_corpus_are_told_of(workspace: Workspace) -> None:
    strangers = [Example(("river heat", "A passage from elsewhere."))]
    found = mined(
        workspace, TrainingData(Kind.PAIRS, strangers, {}), Mining(negatives=1, fill=True, margin=0)
    )
    assert found.queries.strangers == 1
    assert len(found.data) == 1


def test_an_output_that_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    there = tmp_path / "pairs.jsonl"
    there.write_text("")
    for path, said in (
        (tmp_path / "x.csv", "is no .jsonl file"),
        (tmp_path / "nowhere" / "x.jsonl", "is no folder to write to"),
        (there, "is a file that is read"),
    ):
        with pytest.raises(InvalidInput, match=said):
            require_writable(path, apart_from=[there])


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"query": "q"}], {"source": "test"})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_rows(path, [{"query": "q"}, {"query": object()}], {})
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "rows.jsonl",
        "rows.jsonl.lineage.json",
    ]
