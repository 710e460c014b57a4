"""Rules: small named values, each a condition with a finding, a reason and a next step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

Facts = TypeVar("Facts")


class Leaning(StrEnum):
    """What a finding says to the question."""

    AGAINST = "against"
    UNKNOWN = "unknown"  # something must be measured before anything can be said
    FIRST = "first"  # something else is to be done before
    FOR = "for"
    NOTE = "note"  # worth knowing, whatever is decided


@dataclass(frozen=True)
class Rule(Generic[Facts]):
    """Says something where its condition holds. Texts are made of the facts, figures included."""

    name: str
    leaning: Leaning
    holds: Callable[[Facts], bool]
    finding: Callable[[Facts], str]  # what is, with its figure
    reason: Callable[[Facts], str]  # why that matters
    next_step: Callable[[Facts], str] = lambda facts: ""  # a command, or what to do


@dataclass(frozen=True)
class Advice:
    """What one rule says of the facts."""

    rule: str
    leaning: Leaning
    finding: str
    reason: str
    next_step: str


def applied(rules: Sequence[Rule[Facts]], facts: Facts) -> list[Advice]:
    """What the rules that hold say, in their order."""
    return list(_applied(rules, facts))


def _applied(rules: Sequence[Rule[Facts]], facts: Facts) -> Iterator[Advice]:
    for rule in rules:
        if rule.holds(facts):
            yield Advice(
                rule.name,
                rule.leaning,
                rule.finding(facts),
                rule.reason(facts),
                rule.next_step(facts),
            )
