"""Questions from a language model: what is thrown away, and what finds its passage."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scripted_server import Hang, Reply, ScriptedServer
from small_corpus import text_of

from lockstep.bootstrap import Workspace
from lockstep.errors import InvalidInput
from lockstep_indexer.train.negatives.passages import CorpusPassage, Passages, corpus_passages
from lockstep_indexer.train.questions.asking import Asker
from lockstep_indexer.train.questions.budget import Budget
from lockstep_indexer.train.questions.cache import AnswerCache
from lockstep_indexer.train.questions.endpoint import ChatEndpoint
from lockstep_indexer.train.questions.generate import (
    MIN_PASSAGE_CHARS,
    Choice,
    Generated,
    RoundTrip,
    chosen_passages,
)
from lockstep_indexer.train.questions.prompt import Flaw, Prompt, examined, whole_flaw
from lockstep_indexer.train.questions.round_trip import found_in
from lockstep_indexer.train.questions.run import ask_about

PASSAGE = "Title\nThe mast is held up by ropes. It bends in the wind."


@pytest.mark.parametrize(
    ("answer", "flaw"),
    [
        ('{"questions": ["a one", "b two"]}', None),
        ('["a one", "b two"]', None),
        ('```json\n{"questions": ["a one", "b two"]}\n```', None),
        ('<think>["no"] hm</think>{"questions": ["a one", "b two"]}', None),
        ("1. what is a?\n2. what is b?", Flaw.NOT_JSON),
        ('{"questions": "a one"}', Flaw.NOT_JSON),
        ("", Flaw.NOT_JSON),
        ("[" * 100_000, Flaw.NOT_JSON),
        ("[]", Flaw.WRONG_COUNT),
        ('["a one", "b two", "c three"]', Flaw.WRONG_COUNT),
    ],
)
def test_an_answer_is_read_in_the_ways_that_models_write(answer: str, flaw: Flaw | None) -> None:
    assert whole_flaw(answer, Prompt(count=2)) is flaw


@pytest.mark.parametrize("question", ["what is \ud83d?", "what is \x00?"])
def test_half_a_character_is_no_question(question: str) -> None:
    assert [flaw for _, flaw in examined(json.dumps([question]), PASSAGE)] == [Flaw.NOT_TEXT]


def test_what_repeats_a_held_out_passage_is_not_asked_about() -> None:
    texts = {"a": "word " * 20, "held": "word " * 20, "b": "other " * 20}
    passages = Passages([CorpusPassage(key, text, text, 0, "") for key, text in texts.items()], [])
    assert chosen_passages(passages, Choice(), {"held"}) == [2]


def test_each_question_is_examined() -> None:
    answer = json.dumps(
        [
            *("what holds\n the mast?", "What holds the mast?", "", None, "q" * 301),
            *("It bends in the wind?", "why does it bend?"),
        ]
    )
    found = list(examined(answer, PASSAGE))
    assert [flaw for _, flaw in found] == [
        *(None, Flaw.REPEATED, Flaw.EMPTY, Flaw.EMPTY, Flaw.TOO_LONG),
        *(Flaw.REPEATS_PASSAGE, None),
    ]
    assert found[0][0] == "what holds the mast?"


def test_a_prompt_needs_its_places() -> None:
    with pytest.raises(InvalidInput, match=r"lacks \{count\}; expected both"):
        Prompt("Ask about {passage}")
    with pytest.raises(InvalidInput, match="0 questions are asked for"):
        Prompt(count=0)
    odd = Prompt('{"n": {count}} about {passage}', 2)
    assert odd.about("{count} {x}") == '{"n": 2} about {count} {x}'
    assert odd.digest != Prompt(odd.text, 3).digest


def test_the_round_trip_counts_ranks(workspace: Workspace) -> None:
    passages = corpus_passages(workspace, "docs", workspace.encoders.get("tiny@1"))
    scores = np.zeros((1, len(passages)), dtype=np.float32)
    scores[0, [5, 6, 7]] = [0.9, 0.8, 0.7]

    def kept(place: int, k: int) -> bool:
        return found_in(lambda questions: scores, passages, [(place, "q")], k) == [True]

    assert [kept(place, 2) for place in (5, 6, 7, 8)] == [True, True, False, False]
    assert kept(7, 3)
    assert not kept(8, 40)  # it scores nothing
    scores[0, 39] = 0.95  # repeats the text of 3
    assert kept(3, 1)


def server_that_asks(*texts: str) -> ScriptedServer:
    message = {"role": "assistant", "content": json.dumps(texts)}
    return ScriptedServer(Reply(body={"choices": [{"message": message, "finish_reason": "stop"}]}))


def generated(
    workspace: Workspace, server: ScriptedServer, choice: Choice, **more: int
) -> Generated:
    endpoint = ChatEndpoint(server.url, f"llm of {server.url}", first_wait_s=0.01)
    budget = Budget(more.pop("max_requests", 1000), 10_000_000)
    prompt = Prompt(count=more.pop("count", 2))
    return ask_about(workspace, "long", endpoint, prompt, budget, choice, model="tiny@1")


@pytest.fixture(scope="module", autouse=True)
def _long(workspace: Workspace) -> None:
    from lockstep.corpus.documents import Document

    workspace.corpora.create("long")
    documents = [
        Document(f"d{n}", f"{text_of(n)} {text_of(n + 1)}", title=f"T{n}") for n in range(9)
    ]
    workspace.corpora.write("long", [*documents, Document("short", "too short")])


def test_questions_that_do_not_find_their_passage_are_dropped(workspace: Workspace) -> None:
    """The same questions for all passages: one finds d4, the other finds nothing."""
    with server_that_asks(f"is it {text_of(4)}", "xylophone") as server:
        none = generated(workspace, server, Choice(round_trip=RoundTrip.NONE))
        assert none.passages == 9  # the short one answers nothing
        assert len(none.data) == 2  # each question once, whatever passage it came with first
        assert none.flaws == {Flaw.REPEATED: 16}
        few = generated(workspace, server, Choice(round_trip=RoundTrip.BM25, k=1))
        assert few.asked.cached == 9
        assert [one.query for one in few.data.examples] == [f"is it {text_of(4)}"]
        assert few.flaws == {Flaw.NOT_FOUND: 17}
        every = generated(workspace, server, Choice(round_trip=RoundTrip.MODEL, k=9))
        assert [one.query for one in every.data.examples].count(f"is it {text_of(4)}") == 1
    lineage = every.data.lineage
    assert lineage["prompt"] == Prompt().text
    assert lineage["round_trip"] == {"by": "model", "k": 9}
    assert (lineage["llm"], lineage["answered"]) == (f"llm of {server.url}", 9)
    [group] = {one.group for one in every.data.examples if one.query.startswith("is it")}
    assert group.startswith("d")


def test_a_cap_leaves_what_is_there(workspace: Workspace) -> None:
    with server_that_asks("what is one?", "what is two?") as server:
        some = generated(workspace, server, Choice(round_trip=RoundTrip.NONE), max_requests=3)
        assert (len(some.asked.answers), some.passages) == (3, 9)
        rest = generated(workspace, server, Choice(round_trip=RoundTrip.NONE))
        assert (rest.asked.cached, len(rest.asked.answers)) == (3, 9)
        assert len(server.requests) == 9


def test_more_passages_are_those_and_others(workspace: Workspace) -> None:
    passages = corpus_passages(workspace, "long", workspace.encoders.get("tiny@1"))
    few = chosen_passages(passages, Choice(passages=4), frozenset())
    more = chosen_passages(passages, Choice(passages=8), {"d0"})
    assert len(few) == 4
    assert set(few) - passages.of_documents({"d0"}) <= set(
        chosen_passages(passages, Choice(passages=9), frozenset())
    )
    assert not passages.of_documents({"d0"}) & set(more)
    assert all(len(passages.all[place].text) >= MIN_PASSAGE_CHARS for place in more)
    everything = {one.document_id for one in passages.all}
    with pytest.raises(InvalidInput, match="None of 10 passages can be asked about"):
        chosen_passages(passages, Choice(), everything)


def test_a_killed_run_pays_for_nothing_twice(tmp_path: Path) -> None:
    message = {"content": '["what is one?"]'}
    good = Reply(body={"choices": [{"message": message}]})
    passages = [f"passage {n}" for n in range(6)]
    code = (
        "import sys, pathlib\n"
        "from lockstep_indexer.train.questions.asking import *\n"
        "cache = AnswerCache(pathlib.Path(sys.argv[2]))\n"
        "endpoint = ChatEndpoint(sys.argv[1], 'llm')\n"
        "Asker(endpoint, cache, Prompt(count=1), Budget(99, 99999), 1).ask(sys.argv[3:])\n"
    )
    path = tmp_path / "answers.db"
    with ScriptedServer(good, good, good, Hang()) as server:
        run = subprocess.Popen([sys.executable, "-c", code, server.url, str(path), *passages])
        while len(server.requests) < 4:
            assert run.poll() is None
            time.sleep(0.05)
        run.kill()
        run.wait()
    with ScriptedServer(good) as server, AnswerCache(path) as cache:
        endpoint = ChatEndpoint(server.url, "llm")
        asked = Asker(endpoint, cache, Prompt(count=1), Budget(99, 99_999), 1).ask(passages)
        assert (asked.cached, len(asked.answers), len(server.requests)) == (3, 6, 3)
