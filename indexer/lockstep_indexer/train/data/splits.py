"""Dividing examples into training, dev and test so that no document stands on two sides."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lockstep.errors import InvalidInput
from lockstep_indexer.train.data.examples import Example, TrainingData
from lockstep_indexer.train.data.likeness import words

_MOST_HELD_OUT = 0.8
# Of a held-out part: the answer to hundreds of queries would else be all that is measured by.
_MOST_OF_ONE = 0.05


@dataclass(frozen=True)
class Splits:
    """Three disjoint parts of one set; dev and test have no examples where no share was asked."""

    train: TrainingData
    dev: TrainingData
    test: TrainingData


def split(data: TrainingData, *, dev: float = 0.1, test: float = 0.0, seed: int = 7) -> Splits:
    """Divide by document: examples of one group, passage or query stay together.

    Many that hang together are trained on, as long as others are there to hold out. The same
    examples and seed give the same parts, in whatever order the examples come. Raises InvalidInput
    where the shares are none, or the examples hang together too much to divide them.
    """
    if dev < 0 or test < 0 or dev + test > _MOST_HELD_OUT:
        raise InvalidInput(
            f"The shares of dev and test are {dev:g} and {test:g}; expected 0 or more, and no more "
            f"than {_MOST_HELD_OUT:g} together."
        )
    wanted = {"test": _count(test, len(data)), "dev": _count(dev, len(data))}
    parts: dict[str, list[int]] = {"test": [], "dev": [], "train": []}
    few = max(1, round(_MOST_OF_ONE * min(filter(None, wanted.values()), default=0)))
    ordered = _in_random_order(data.examples, seed)
    for together in sorted(ordered, key=lambda numbers: len(numbers) > few and len(numbers)):
        fitting = [n for n, size in wanted.items() if len(parts[n]) + len(together) <= size]
        emptiest = min(fitting, key=lambda n: len(parts[n]) / wanted[n], default="train")
        parts[emptiest].extend(together)
    lacking = [name for name, size in wanted.items() if size and not parts[name]]
    if lacking or not parts["train"]:
        raise InvalidInput(
            f"{len(data):,} examples cannot be divided: too many share a document, a passage or a "
            f"query, so {lacking[0] if lacking else 'train'} would get none.",
            next_step="Give more documents, or evaluate on a set of its own.",
        )
    settings = {"dev": dev, "test": test, "seed": seed}

    def part(name: str) -> TrainingData:
        examples = [data.examples[number] for number in sorted(parts[name])]
        return replace(
            data,
            examples=examples,
            lineage={**data.lineage, "split": {"part": name, **settings}},
        )

    return Splits(part("train"), part("dev"), part("test"))


def _count(share: float, total: int) -> int:
    return max(1, round(share * total)) if share else 0


def _in_random_order(examples: Sequence[Example], seed: int) -> list[list[int]]:
    """The numbers of examples that belong together; ordered by digests of what they say."""
    digests = [
        hashlib.sha256("\0".join((str(seed), *one.texts)).encode()).digest() for one in examples
    ]
    found = list(_together(examples))
    return sorted(found, key=lambda numbers: min(digests[number] for number in numbers))


def _together(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Connected examples: two are where they share a group, a passage or a query."""
    parents = list(range(len(examples)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, one in enumerate(examples):
        for key in (("group", one.group), *(("text", _plain(text)) for text in one.texts[:2])):
            if key[1]:
                parents[root(number)] = root(first.setdefault(key, number))
    members: dict[int, list[int]] = defaultdict(list)
    for number in range(len(examples)):
        members[root(number)].append(number)
    yield from members.values()


def _plain(text: str) -> str:
    return " ".join(words(text)) or text.strip()
