"""What a model is taught, and in which shares."""

from dataclasses import replace
from pathlib import Path

import pytest
from training import TINY, pairs

from lockstep.testing import tiny_model
from lockstep_indexer.train.data.examples import Entailment, Example, Kind, TrainingData
from lockstep_indexer.train.lessons import Lessons, Material, lessons_of, shortages
from lockstep_indexer.train.loading import load_trainable

_NLI = TrainingData(
    Kind.NLI,
    [
        Example((f"premise {n}", f"{label} {n}"), label=label)
        for n in range(100)
        for label in Entailment
    ],
    {},
)
_JUDGED = TrainingData(
    Kind.QRELS, [Example((f"q {n}", f"p {n}"), score=float(n % 2)) for n in range(200)], {}
)


def _shares(lessons: Lessons) -> dict[str, float]:
    """Of all rows, by the first word of the lessons' names."""
    rows = {name.split("-")[0]: 0 for name in lessons}
    for name, lesson in lessons.items():
        rows[name.split("-")[0]] += len(lesson.table)
    return {name: count / sum(rows.values()) for name, count in rows.items()}


@pytest.mark.parametrize("general", [_NLI, _JUDGED, pairs(200, seed=2)], ids=lambda d: d.kind)
def test_general_examples_have_the_share_that_was_asked_for(
    general: TrainingData, tmp_path: Path
) -> None:
    """Whatever part of them is something to learn from."""
    base = load_trainable(tiny_model(tmp_path / "model"))
    settings = replace(TINY, mix_in_share=0.25, keep_share=0.25)
    lessons = lessons_of(Material(pairs(100), general), settings, base)
    shares = _shares(lessons)
    assert shares["mix"] == pytest.approx(0.25, abs=0.01)
    assert shares["keep"] == pytest.approx(0.25, abs=0.01)
    assert list(shortages(lessons, settings)) == []


def test_too_few_general_examples_are_told(tmp_path: Path) -> None:
    base = load_trainable(tiny_model(tmp_path / "model"))
    settings = replace(TINY, mix_in_share=0.5)
    lessons = lessons_of(Material(pairs(90), pairs(10, seed=2)), settings, base)
    [said] = shortages(lessons, settings)
    assert "--mix-in-share is 10.0% of what is trained on, not 50%" in said
