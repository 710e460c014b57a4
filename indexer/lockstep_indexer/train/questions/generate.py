"""Synthetic questions for a corpus: passages chosen, asked about, examined, searched for."""

import random
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from enum import StrEnum

from lockstep.errors import InvalidInput
from lockstep.lexical.bm25 import Bm25Settings
from lockstep.models.manifest import Json
from lockstep_indexer.train.data.examples import Example, Kind, TrainingData
from lockstep_indexer.train.negatives.passages import Passages
from lockstep_indexer.train.questions.asking import Asked, Asker
from lockstep_indexer.train.questions.prompt import Flaw, examined, whole_flaw
from lockstep_indexer.train.questions.round_trip import Scorer, found_in

# What is shorter answers hardly anything.
MIN_PASSAGE_CHARS = 40


class RoundTrip(StrEnum):
    """By what a question must find its own passage."""

    MODEL = "model"
    BM25 = "bm25"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which passages are asked about, and when a question is kept."""

    passages: int = 1000  # at most, drawn at random
    round_trip: RoundTrip = RoundTrip.MODEL
    k: int = 10  # the passage must be among the first k
    language: str = "english"  # of BM25
    seed: int = 7

    def __post_init__(self) -> None:
        Bm25Settings(avg_length=1.0, language=self.language)  # raises InvalidSetting
        for name in ("passages", "k"):
            if (value := getattr(self, name)) < 1:
                raise InvalidInput(f"{name} is {value}; expected 1 or more.")


@dataclass(frozen=True)
class Generated:
    """Questions with their passages, and what was thrown away."""

    data: TrainingData
    asked: Asked
    passages: int  # chosen
    flaws: Counter[Flaw] = field(default_factory=Counter)  # whole answers and single questions


def chosen_passages(passages: Passages, choice: Choice, held_out: Set[str]) -> list[int]:
    """The places of passages to ask about, in an order that more of them would only lengthen.

    Raises InvalidInput where there is none.
    """
    closed = passages.repeated | passages.held_out(held_out)
    fit = [
        place
        for place, one in enumerate(passages.all)
        if place not in closed and len(one.text) >= MIN_PASSAGE_CHARS
    ]
    if not fit:
        raise InvalidInput(
            f"None of {len(passages):,} passages can be asked about: all are held out, or shorter "
            f"than {MIN_PASSAGE_CHARS} characters.",
            next_step="Add longer documents, or hold out fewer.",
        )
    random.Random(choice.seed).shuffle(fit)
    return fit[: choice.passages]


def generate(
    passages: Passages,
    asker: Asker,
    choice: Choice,
    scorer: Callable[[], Scorer] | None,
    *,
    held_out: Set[str] = frozenset(),
    lineage: Json | None = None,
    stage: Callable[[str], None] = lambda _: None,
) -> Generated:
    """Ask about passages of a corpus and keep the questions that are good for something.

    Raises what the endpoint raises, with all answers so far in the cache.
    """
    places = chosen_passages(passages, choice, held_out)
    stage("asking")
    asked = asker.ask([passages.all[place].encoded_text for place in places])
    flaws: Counter[Flaw] = Counter()
    questions = _good(passages, places, asker, asked, flaws)
    if scorer is not None and questions:
        stage("searching for them")
        found = found_in(scorer(), passages, questions, choice.k)
        flaws[Flaw.NOT_FOUND] = found.count(False)
        questions = [one for one, is_found in zip(questions, found, strict=True) if is_found]
    questions = _distinct(questions, flaws)
    examples = [
        Example((question, passages.all[place].encoded_text), group=passages.all[place].document_id)
        for place, question in questions
    ]
    told = {**(lineage or {}), **_told(asker, asked, choice, flaws, len(places))}
    return Generated(TrainingData(Kind.PAIRS, examples, told), asked, len(places), +flaws)


def _good(
    passages: Passages, places: list[int], asker: Asker, asked: Asked, flaws: Counter[Flaw]
) -> list[tuple[int, str]]:
    """The questions without a flaw, with the places of their passages."""
    kept = []
    for number in sorted(asked.answers):
        answer, place = asked.answers[number], places[number]
        if (whole := whole_flaw(answer.text, asker.prompt)) is not None:
            flaws[Flaw.CUT_OFF if answer.cut_off else whole] += 1
            continue
        for question, flaw in examined(answer.text, passages.all[place].encoded_text):
            if flaw is None:
                kept.append((place, question))
            else:
                flaws[flaw] += 1
    return kept


def _distinct(questions: list[tuple[int, str]], flaws: Counter[Flaw]) -> list[tuple[int, str]]:
    """Each question once: one that asks for several passages says little about any."""
    first: dict[str, tuple[int, str]] = {}
    for place, question in questions:
        first.setdefault(question.casefold(), (place, question))
    flaws[Flaw.REPEATED] += len(questions) - len(first)
    return list(first.values())


def _told(asker: Asker, asked: Asked, choice: Choice, flaws: Counter[Flaw], places: int) -> Json:
    return {
        "endpoint": asker.endpoint.host,
        "llm": asker.endpoint.model,
        "prompt": asker.prompt.text,
        "prompt_sha256": asker.prompt.digest,
        "questions_per_passage": asker.prompt.count,
        "passages": places,
        "answered": len(asked.answers),
        "round_trip": {"by": str(choice.round_trip), "k": choice.k},
        "seed": choice.seed,
        "thrown_away": {str(flaw): count for flaw, count in sorted((+flaws).items())},
    }
