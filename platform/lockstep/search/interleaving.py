"""Team-draft interleaving: one answer of two rankings, and what clicks on it say."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import scipy  # scipy.stats takes half a second to load, and is at first use

from lockstep.corpus.query_log import Shown
from lockstep.index.trials import Arm

CONFIDENCE = 0.95
_POWER = 0.8
# A smaller preference than 55 to 45 is taken for none.
_LEAST_PREFERENCE = 0.05


@dataclass(frozen=True)
class Drafted:
    """A document, and the version on whose behalf it is shown."""

    id: str
    team: Arm


def team_draft(
    live: Sequence[str], candidate: Sequence[str], *, length: int, coin: random.Random
) -> list[Drafted]:
    """Both rankings as one of up to `length` documents, each once and each in a team.

    In turns of two, each team picks the best document of its ranking that is not there yet; a coin
    says who picks first. Where one ranking is used up, the other goes on alone. Sources: Radlinski,
    Kurup, Joachims, CIKM 2008; Chapelle, Joachims, Radlinski, Yue, ACM TOIS 2012.
    """
    rankings = {Arm.LIVE: iter(live), Arm.CANDIDATE: iter(candidate)}
    drafted: list[Drafted] = []
    taken: set[str] = set()
    while len(drafted) < length:
        before = len(drafted)
        order = [Arm.LIVE, Arm.CANDIDATE]
        coin.shuffle(order)
        for team in order:
            pick = next((one for one in rankings[team] if one not in taken), None)
            if pick is not None and len(drafted) < length:
                taken.add(pick)
                drafted.append(Drafted(pick, team))
        if len(drafted) == before:
            break
    return drafted


@dataclass(frozen=True)
class Preference:
    """For how many clicked answers each version's team had more clicks."""

    wins: int  # of the candidate
    losses: int
    ties: int

    @classmethod
    def of(cls, answers: Iterable[Shown]) -> "Preference":
        """Credit each clicked answer to the team with more of its clicked documents."""
        leads = [_lead(answer) for answer in answers]
        return cls(
            wins=sum(lead > 0 for lead in leads),
            losses=sum(lead < 0 for lead in leads),
            ties=sum(lead == 0 for lead in leads),
        )

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def share(self) -> float | None:
        """The candidate's share of the answers that were won; 0.5: as good as live."""
        return self.wins / self.decided if self.decided else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of that share (Clopper and Pearson, Biometrika 1934)."""
        if not self.decided:
            return None
        found = scipy.stats.binomtest(self.wins, self.decided).proportion_ci(CONFIDENCE)
        return float(found.low), float(found.high)

    @property
    def p_value(self) -> float | None:
        """The chance of at least such a preference between equals: the sign test."""
        return (
            float(scipy.stats.binomtest(self.wins, self.decided).pvalue) if self.decided else None
        )

    @property
    def needed(self) -> int:
        """How many won answers show the least preference that matters, 4 times out of 5.

        It is planned ahead and does not depend on what was seen: whoever looks after each click
        finds a "preference" between equals in one of three trials at some look. Source: Fleiss,
        Levin, Paik, Statistical Methods for Rates and Proportions, 2003, chapter 2.
        """
        lean = _LEAST_PREFERENCE
        z, power = (float(scipy.stats.norm.ppf(q)) for q in ((1 + CONFIDENCE) / 2, _POWER))
        spread = z * 0.5 + power * math.sqrt((0.5 + lean) * (0.5 - lean))
        return math.ceil((spread / lean) ** 2)

    @property
    def verdict(self) -> str:
        """What the clicks say, in words; a preference only once there are as many as planned."""
        if self.decided < self.needed:
            more = self.needed - self.decided
            return f"too few clicks to tell: {self._leaning}, {more} more needed"
        interval = self.interval
        if interval is not None and interval[0] > 0.5:
            return "people prefer the candidate"
        if interval is not None and interval[1] < 0.5:
            return "people prefer the live version"
        return "no preference that matters"

    @property
    def _leaning(self) -> str:
        so_far = f"{max(self.wins, self.losses)} of {self.decided}"
        if self.wins == self.losses:
            return f"{self.decided} so far"
        return f"{so_far} for the {'candidate' if self.wins > self.losses else 'live version'}"


def _lead(answer: Shown) -> int:
    """By how many clicked documents the candidate's team is ahead."""
    team: Mapping[str, str] = dict(zip(answer.documents, answer.teams, strict=True))
    clicked = [team[document_id] for document_id in answer.clicked if document_id in team]
    return clicked.count(Arm.CANDIDATE.value) - clicked.count(Arm.LIVE.value)
