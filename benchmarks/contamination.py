"""Does the contamination check find planted leaks, and leave honest splits alone?

`python -m benchmarks.contamination --data DIR`: compares train and test of MedQuAD, whose questions
come from templates, and of squad-wiki, first as they are, then with a tenth of the test queries
reworded lightly into train, with their passages and with passages of other queries.
"""

import argparse
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lockstep_indexer.train.data.contamination import Contamination, HeldOut, find_leaks
from lockstep_indexer.train.data.examples import Example, TrainingData
from lockstep_indexer.train.data.judged import read_judged

COLLECTIONS = ("medquad", "squad-wiki")
PLANTED_SHARE = 0.1
SEED = 1

_SYNONYMS = {
    "symptoms": "signs", "treatments": "therapies", "causes": "reasons", "located": "situated",
    "many": "numerous", "name": "title", "year": "date", "first": "earliest", "type": "kind",
    "genetic": "hereditary", "changes": "mutations", "people": "persons", "called": "named",
    "information": "facts", "outlook": "prognosis", "used": "employed", "begin": "start",
    "established": "founded", "founded": "established", "created": "made", "large": "big",
    "happened": "occurred", "show": "display", "diagnose": "detect", "prevent": "avoid",
    "risk": "danger", "important": "significant", "war": "conflict", "company": "firm",
}  # fmt: skip
_DROPPED = ("the", "a", "of", "is", "are", "to", "do", "did", "in", "for")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of BEIR collections")
    data = parser.parse_args().data
    for name in COLLECTIONS:
        _measure(name, data / name)


def _measure(name: str, folder: Path) -> None:
    train, test = (read_judged(folder, split=split) for split in ("train", "test"))
    held_out = HeldOut.of(test)
    print(f"{name}: {len(train):,} training pairs, {len(test):,} test pairs", flush=True)
    found = _timed("as it is", train, held_out)
    for leak in found.leaks[:: max(1, len(found.leaks) // 8)]:
        print(
            f"      {leak.what} {leak.similarity:.2f}  {leak.text[:70]!r}  {leak.train_text[:70]!r}"
        )
    draw = random.Random(SEED)
    picked = draw.sample(list(test.examples), round(PLANTED_SHARE * len(test)))
    others = [draw.choice(train.examples).passage for _ in picked]
    with_their_own = [Example((reworded(one.query, draw), one.passage)) for one in picked]
    with_others = [
        Example((one.query, other)) for one, other in zip(with_their_own, others, strict=True)
    ]
    for label, planted in (("their passages", with_their_own), ("other passages", with_others)):
        leaking = replace(train, examples=[*train.examples, *planted])
        found = _timed(f"a tenth reworded, with {label}", leaking, held_out)
        texts = {leak.text for leak in found.leaks if leak.what == "query"}
        wanted = {one.query for one in picked}
        print(f"      found by the query: {len(wanted & texts) / len(wanted):.1%} of {len(wanted)}")


def _timed(label: str, train: TrainingData, held_out: HeldOut) -> Contamination:
    started = time.perf_counter()
    found = find_leaks(train, held_out)
    seconds = time.perf_counter() - started
    verdict = "passes" if found.is_clean else "is stopped"
    print(
        f"   {label}: {found.leaked_queries} of {found.queries:,} queries, {found.leaked_passages} "
        f"of {found.passages:,} passages ({found.share:.1%}): {verdict}; {seconds:.1f} s",
        flush=True,
    )
    return found


def reworded(query: str, draw: random.Random) -> str:
    """The query with one to three light changes, other case and other punctuation."""
    words = query.rstrip(" ?.!").split()
    changes: list[Callable[[Sequence[str], random.Random], list[str]]]
    changes = [_turned, _with_synonyms, _with_filler, _contracted, _with_less]
    for change in draw.sample(changes, draw.choice((1, 2, 2, 3))):
        words = change(words, draw)
    text = " ".join(words)
    return (text.lower() if draw.random() < 0.5 else text) + draw.choice(("?", " ?", "", "??"))


def _turned(words: Sequence[str], draw: random.Random) -> list[str]:
    at = draw.randrange(1, max(2, len(words) - 1))
    return [*words[at:], *words[:at]]


def _with_synonyms(words: Sequence[str], draw: random.Random) -> list[str]:
    known = [n for n, word in enumerate(words) if word.lower() in _SYNONYMS][:2]
    if not known:
        return _with_filler(words, draw)
    return [_SYNONYMS[word.lower()] if n in known else word for n, word in enumerate(words)]


def _with_filler(words: Sequence[str], draw: random.Random) -> list[str]:
    before, after = draw.choice(
        [("please tell me", ""), ("exactly", ""), ("", "exactly"), ("", "today"), ("so", "")]
    )
    return [*before.split(), *words, *after.split()]


def _contracted(words: Sequence[str], draw: random.Random) -> list[str]:
    text = " ".join(words)
    short = re.sub(r"^(What|Who|Where|How) (is|are)\b", r"\1's", text, flags=re.IGNORECASE)
    return short.split() if short != text else _with_filler(words, draw)


def _with_less(words: Sequence[str], draw: random.Random) -> list[str]:
    spare = [n for n, word in enumerate(words) if word.lower() in _DROPPED]
    gone = draw.choice(spare) if spare else None
    return [word for n, word in enumerate(words) if n != gone]


if __name__ == "__main__":
    main()
