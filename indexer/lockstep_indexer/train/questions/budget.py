"""What may be spent on an endpoint, and what has been."""

from dataclasses import dataclass

from lockstep.errors import InvalidInput
from lockstep.models.manifest import Json

# Of most tokenizers on English; where an endpoint does not count, or has not yet.
CHARS_PER_TOKEN = 4


def estimated_tokens(text: str) -> int:
    return len(text) // CHARS_PER_TOKEN + 1


@dataclass
class Budget:
    """Caps of one run: what would pass one is not sent. Requests that fail count too.

    A request holds as many tokens as it can use at most, until what it used is known. So the cap
    is kept however many are under way, as far as the estimate of the prompt is right.
    """

    max_requests: int
    max_tokens: int
    requests: int = 0
    tokens: int = 0  # used
    estimated: int = 0  # of them: tokens that the endpoint did not report
    reached: str = ""  # which cap has stopped the run
    _held: int = 0

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_tokens"):
            if (value := getattr(self, name)) < 1:
                raise InvalidInput(f"{name} is {value}; expected 1 or more.")

    def hold(self, tokens: int) -> bool:
        """Whether another request that uses up to so many tokens may be sent."""
        if self.requests >= self.max_requests:
            self.reached = f"{self.max_requests:,} requests"
        elif self.tokens + self._held + tokens > self.max_tokens:
            self.reached = f"{self.max_tokens:,} tokens"
        else:
            self.requests += 1
            self._held += tokens
            return True
        return False

    def release(self, held: int, used: int, *, reported: bool) -> None:
        """A request is over, and has used this."""
        self._held -= held
        self.tokens += used
        self.estimated += 0 if reported else used

    def to_json(self) -> Json:
        told = vars(self).items()
        return {name: value for name, value in told if not name.startswith("_")}
