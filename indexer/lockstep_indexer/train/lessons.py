"""What a model is taught: tables of texts, each with a loss of its own.

A batch comes from one table, so that the other passages of a batch are negatives of its own kind.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import numpy as np

from lockstep.errors import InvalidInput
from lockstep_indexer.train.columns import ANCHOR, LABEL, POSITIVE, loss_for, mean_batch, tables
from lockstep_indexer.train.data.examples import Kind, TrainingData
from lockstep_indexer.train.distillation import Tables, Teacher, encoded, labelled
from lockstep_indexer.train.settings import Loss, TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


MIN_BATCH = 4
_MIXED, _KEPT = "mix", "keep"  # what the names of general lessons begin with
_SHORT = 0.9  # of a share: less of it is told


@dataclass(frozen=True)
class Material:
    """All that is trained on."""

    data: TrainingData
    general: TrainingData | None = None  # against forgetting
    teacher: Teacher | None = None
    guide: Path | None = None


@dataclass(frozen=True)
class Lesson:
    """A table and the loss that reads it."""

    table: datasets.Dataset
    loss: Loss


Lessons = dict[str, Lesson]


def lessons_of(
    material: Material, settings: TrainingSettings, base: "SentenceTransformer"
) -> Lessons:
    """What the settings make of the material; `base` is the model as it was before.

    Raises InvalidInput or InvalidSetting where they do not go together.
    """
    loss = loss_for(material.data.kind, settings.loss)
    loss.require_models(material.teacher, material.guide)
    own = {
        name: Lesson(table, loss)
        for name, table in labelled(
            tables(material.data, loss), loss, material.teacher, base
        ).items()
    }
    count = sum(len(lesson.table) for lesson in own.values())
    _check_batches(own, settings.batch_size)
    return own | _general(material.general, settings, count, base)


def _check_batches(lessons: Lessons, batch_size: int) -> None:
    """Raises InvalidInput where an example would have next to no others to be told from."""
    for lesson in lessons.values():
        if not lesson.loss.is_in_batch or len(lesson.table) < MIN_BATCH:
            continue
        rows = mean_batch(lesson.table, batch_size)
        if rows < min(MIN_BATCH, batch_size):
            raise InvalidInput(
                f"Batches of different texts would have {rows:.1f} examples on average, as one "
                f"text stands in so many of them; expected {min(MIN_BATCH, batch_size)} or more.",
                next_step="Give examples with more different queries and passages.",
            )


def _general(
    general: TrainingData | None,
    settings: TrainingSettings,
    count: int,
    base: "SentenceTransformer",
) -> Lessons:
    """General examples trained on as they are, and general texts whose vectors are to stay."""
    mixed, kept = settings.mix_in_share, settings.keep_share
    if not mixed and not kept:
        return {}
    if general is None:
        raise InvalidInput(
            "A share against forgetting needs general examples to take it from.",
            next_step="Name a file of them: --mix-in FILE",
        )
    found: Lessons = {}
    whole = count / (1 - mixed - kept)
    if mixed:
        loss = loss_for(general.kind, None)
        drawn = _drawn(tables(general, loss), round(whole * mixed), settings.seed)
        found |= {f"{_MIXED}-{name}": Lesson(table, loss) for name, table in drawn.items()}
    if kept:
        some = _sample(general, round(whole * kept), settings.seed + 1)
        found[_KEPT] = Lesson(_as_they_are(some, settings, base), Loss.DISTILL)
    return found


def shortages(lessons: Lessons, settings: TrainingSettings) -> Iterator[str]:
    """What to tell where the general examples are too few for the shares that were asked for."""
    total = sum(len(lesson.table) for lesson in lessons.values())
    for option, name, share in (
        ("--mix-in-share", _MIXED, settings.mix_in_share),
        ("--keep-share", _KEPT, settings.keep_share),
    ):
        rows = sum(len(each.table) for key, each in lessons.items() if key.startswith(name))
        if rows / total < _SHORT * share:
            yield (
                f"there are too few general examples: {option} is {rows / total:.1%} of what is "
                f"trained on, not {share:.0%}"
            )


def _drawn(found: Tables, count: int, seed: int) -> Tables:
    """So many rows of all tables, at least one and at most all there are."""
    rows = [(name, row) for name, table in found.items() for row in range(len(table))]
    chosen: dict[str, list[int]] = defaultdict(list)
    for name, row in random.Random(seed).sample(rows, min(max(count, 1), len(rows))):
        chosen[name].append(row)
    return {name: datasets.Dataset.from_dict(found[name][some]) for name, some in chosen.items()}


def _as_they_are(
    data: TrainingData, settings: TrainingSettings, base: "SentenceTransformer"
) -> datasets.Dataset:
    """Texts beside the vectors that the base gives them."""
    texts = {
        ANCHOR: [example.query for example in data.examples],
        POSITIVE: [example.passage for example in data.examples],
    }
    prompts = {ANCHOR: settings.query_prompt or "", POSITIVE: settings.document_prompt or ""}
    vectors = [encoded(base, texts[name], prompts[name]) for name in texts]
    return datasets.Dataset.from_dict({**texts, LABEL: np.stack(vectors, axis=1)})


def _sample(data: TrainingData, count: int, seed: int) -> TrainingData:
    """At least one example, and at most all there are."""
    usable = [
        example
        for example in data.examples
        if data.kind is not Kind.QRELS or (example.score or 0) > 0
    ]
    chosen = random.Random(seed).sample(usable, min(max(count, 1), len(usable)))
    return replace(data, examples=chosen)
