"""What a language model is asked, and what its answers are good for."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from lockstep.errors import InvalidInput
from lockstep.models.manifest import canonical_json
from lockstep_indexer.train.data.examples import is_text

COUNT, PASSAGE = "{count}", "{passage}"
MAX_QUESTION_CHARS = 300
MIN_QUESTION_CHARS = 3

DEFAULT = """\
Write {count} different questions that people who look for the passage below would type into a \
search engine. They have not read it: do not copy its sentences, use words of your own, and do not \
speak of "the passage" or "the text". Each question must be answered by the passage alone. Write \
in the language of the passage. Answer with JSON and nothing else: \
{"questions": ["...", "..."]}

Passage:
{passage}
"""

_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


class Flaw(StrEnum):
    """Why an answer, or one question of it, is thrown away."""

    NOT_JSON = "not JSON"  # the whole answer
    WRONG_COUNT = "wrong count"  # the whole answer: more or fewer questions than asked for
    CUT_OFF = "cut off"  # the whole answer: the endpoint stopped in its midst
    EMPTY = "empty"
    NOT_TEXT = "not text"  # half a character, or a NUL: no file of training rows may hold it
    TOO_LONG = "too long"
    REPEATS_PASSAGE = "repeats the passage"
    REPEATED = "same as another"
    NOT_FOUND = "does not find its passage"  # the round trip


@dataclass(frozen=True)
class Prompt:
    """What is sent; `{count}` and `{passage}` stand for what is put in."""

    text: str = DEFAULT
    count: int = 3  # questions for each passage

    def __post_init__(self) -> None:
        if missing := [name for name in (COUNT, PASSAGE) if name not in self.text]:
            raise InvalidInput(
                f"The prompt lacks {' and '.join(missing)}; expected both {COUNT} and {PASSAGE}, "
                "where the number of questions and the passage are put in.",
            )
        if not 1 <= self.count <= 20:
            raise InvalidInput(f"{self.count} questions are asked for; expected 1 to 20.")

    @cached_property
    def digest(self) -> str:
        """Of what decides about the answers, passage and model apart."""
        return hashlib.sha256(canonical_json([self.text, self.count]).encode()).hexdigest()

    def about(self, passage: str) -> str:
        return self.text.replace(COUNT, str(self.count)).replace(PASSAGE, passage)


def questions_in(answer: str) -> list[object] | None:
    """The list that an answer holds, as JSON by itself or under "questions"; None without one."""
    text = _THOUGHTS.sub("", answer)
    if fenced := _FENCE.match(text):
        text = fenced[1]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        found = found.get("questions")
    return found if isinstance(found, list) else None


def whole_flaw(answer: str, prompt: Prompt) -> Flaw | None:
    """What is wrong with an answer as a whole: worth asking again."""
    found = questions_in(answer)
    if found is None:
        return Flaw.NOT_JSON
    return Flaw.WRONG_COUNT if len(found) != prompt.count else None


def examined(answer: str, passage: str) -> Iterator[tuple[str, Flaw | None]]:
    """Each question of an answer, and what is wrong with it."""
    seen: set[str] = set()
    for one in questions_in(answer) or []:
        question = " ".join(one.split()) if isinstance(one, str) else ""
        flaw = _flaw(question, passage)
        if flaw is None and question.casefold() in seen:
            flaw = Flaw.REPEATED
        seen.add(question.casefold())
        yield question, flaw


def _flaw(question: str, passage: str) -> Flaw | None:
    if len(question) < MIN_QUESTION_CHARS:
        return Flaw.EMPTY
    if len(question) > MAX_QUESTION_CHARS:
        return Flaw.TOO_LONG
    if not is_text(question):
        return Flaw.NOT_TEXT
    if question.rstrip("?？!. ").casefold() in " ".join(passage.split()).casefold():
        return Flaw.REPEATS_PASSAGE
    return None
