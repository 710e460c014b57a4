"""Every error that Lockstep raises on purpose.

LockstepError
├── InvalidInput              what was given cannot be used as it is
│   ├── InvalidDocument
│   ├── InvalidFilter
│   ├── InvalidSetting
│   ├── WrongModelKind        an encoder where a reranker is wanted, or the other way round
│   ├── ModelRejected         a model folder that is unsafe or incomplete
│   ├── Contaminated          training data that repeats what the evaluation asks
│   └── SearchUnsupported     the index version was not built for this kind of search
├── NotFound                  a name that names nothing
│   ├── CorpusNotFound
│   ├── DocumentNotFound
│   ├── ModelNotFound
│   ├── RerankerNotFound      no registered reranker is what a search names
│   ├── IndexVersionNotFound
│   ├── QuerySetNotFound
│   ├── SearchNotFound        no search with this id was kept in the query log
│   ├── TrialNotFound
│   ├── KeyNotFound           no API key in use has this name
│   ├── CollectionNotFound
│   └── NoLiveIndex           the corpus exists; nothing has been promoted yet
├── Conflict                  it would be fine at another time or in another state
│   ├── CollectionExists
│   ├── CollectionInUse       an embedded collection is open in another process
│   ├── LeaseHeld             another process is building this index version
│   ├── LeaseLost             another process took the work over
│   ├── PromotionRefused
│   │   └── GateFailed        a candidate did not show what a gate asks for
│   ├── RepairRefused         an index version in this state cannot be repaired
│   ├── StillServed           a server answers from what is to be dropped
│   ├── TrialRefused          a candidate cannot meet live traffic now
│   ├── KeyExists             an API key in use has this name already
│   ├── NotBetter             a trained model was to be better than its base, and is not
│   ├── CursorExpired         the list that a cursor goes on with is gone
│   └── NothingToRollBack
├── AccessDenied              the API key that was sent does not reach this far
│   └── KeyRequired           none was sent, or none that is known
├── IntegrityError            something stored is not what it was
│   ├── ArtefactDamaged       a file of a model version changed
│   ├── CollectionDamaged     an index lost or changed points
│   ├── ManifestDamaged       the embedded engine's list of collections and aliases
│   ├── DimensionMismatch
│   ├── EncodingFailed        the model gave NaN or infinite values
│   ├── TrainingDiverged      the loss of a training is no number any more, whatever was tried
│   └── ProbeFailed           an index version does not agree with its corpus
└── Unavailable               a part does not answer now; the same call may succeed later
    ├── StoreUnavailable
    ├── DatabaseUnavailable
    ├── ArtefactsUnavailable  the storage of the model versions
    ├── RateLimited           this API key sends more requests than it may
    ├── Overloaded            more searches than this server can answer in time
    ├── DeviceMemoryFull      a card cannot hold a model and a batch of one passage now
    ├── WorkersUnavailable    processes on other machines or cards that are to encode
    ├── HubUnavailable        the hub that a model should come from
    ├── ChatUnavailable       the language model that questions should come from
    └── StorageFull
"""

from typing import Any


class LockstepError(Exception):
    """A failure with a message for people: what, actual, expected.

    `next_step` says what to do about it, as one sentence or one command.
    """

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions rebuild from `args` alone; keep the keyword across a process boundary.
        return (_rebuild, (type(self), self.message, self.next_step))


def _rebuild(kind: type[LockstepError], message: str, next_step: str) -> LockstepError:
    return kind(message, next_step=next_step)


class InvalidInput(LockstepError):
    """What was given cannot be used as it is."""


class InvalidDocument(InvalidInput):
    """A document breaks a rule: its id, text, title or metadata."""


class InvalidFilter(InvalidInput):
    """A filter is not Qdrant's filter JSON."""


class InvalidSetting(InvalidInput):
    """A setting has a value that cannot work."""


class ModelRejected(InvalidInput):
    """A model folder is unsafe (pickle, remote code) or incomplete."""


class Contaminated(InvalidInput):
    """Training data repeats queries or passages that the model is to be measured on."""


class WrongModelKind(InvalidInput):
    """The model version is of another kind than what it is to do needs."""


class SearchUnsupported(InvalidInput):
    """The index version was not built for this kind of search."""


class NotFound(LockstepError):
    """A name that names nothing."""


class CorpusNotFound(NotFound):
    """No corpus has this name."""


class DocumentNotFound(NotFound):
    """The corpus has no document with this id."""


class ModelNotFound(NotFound):
    """No registered model version matches the reference."""


class RerankerNotFound(NotFound):
    """No registered reranker is what a search names."""


class IndexVersionNotFound(NotFound):
    """The corpus has no such index version."""


class QuerySetNotFound(NotFound):
    """The corpus has no judged queries of this name."""


class SearchNotFound(NotFound):
    """No search with this id was kept in the query log."""


class TrialNotFound(NotFound):
    """The corpus has no trial."""


class KeyNotFound(NotFound):
    """No API key in use has this name."""


class CollectionNotFound(NotFound):
    """The vector store has no such collection."""


class NoLiveIndex(NotFound):
    """The corpus exists, but nothing has been promoted yet."""


class Conflict(LockstepError):
    """It would be fine at another time, or in another state."""


class CollectionExists(Conflict):
    """The vector store already has a collection of this name."""


class CollectionInUse(Conflict):
    """An embedded collection is open in another process."""


class LeaseHeld(Conflict):
    """Another process is at work on this index version."""


class LeaseLost(Conflict):
    """Another process took over the work of this one."""


class PromotionRefused(Conflict):
    """An index version in this state cannot go live."""


class GateFailed(PromotionRefused):
    """A candidate did not show what a gate asks for; `report` is the gates' report as JSON."""

    report: dict[str, Any] | None = None


class RepairRefused(Conflict):
    """An index version in this state cannot be repaired."""


class StillServed(Conflict):
    """A server still answers from what is to be dropped."""


class TrialRefused(Conflict):
    """A version cannot meet live traffic now: another does, or it is not fit for it."""


class NothingToRollBack(Conflict):
    """The live index version has no predecessor that is still there."""


class KeyExists(Conflict):
    """An API key in use has this name already."""


class NotBetter(Conflict):
    """A trained model was to be better than its base, and was not shown to be."""


class CursorExpired(Conflict):
    """The list that a cursor goes on with is gone: its time is over, or its index version is."""


class AccessDenied(LockstepError):
    """The API key that was sent does not reach this far."""


class KeyRequired(AccessDenied):
    """No API key was sent, or none that is known."""


class IntegrityError(LockstepError):
    """Something stored is not what it was."""


class ArtefactDamaged(IntegrityError):
    """A file of a model version is missing or has changed."""


class CollectionDamaged(IntegrityError):
    """An index lost or changed points."""


class ManifestDamaged(IntegrityError):
    """The embedded engine's list of collections and aliases cannot be read."""


class DimensionMismatch(IntegrityError):
    """Vectors of one length meet an index of another."""


class EncodingFailed(IntegrityError):
    """The model gave NaN or infinite values, or a vector of zeros."""


class ProbeFailed(IntegrityError):
    """An index version does not agree with its corpus or its model."""


class TrainingDiverged(IntegrityError):
    """The loss of a training became NaN or infinite, whatever was tried."""


class Unavailable(LockstepError):
    """A part does not answer now; the same call may succeed later."""


class StoreUnavailable(Unavailable):
    """The vector store does not answer."""


class DatabaseUnavailable(Unavailable):
    """The database of the corpus does not answer."""


class ArtefactsUnavailable(Unavailable):
    """The storage of the model versions does not answer."""


class RateLimited(Unavailable):
    """This API key sends more requests than it may, for `retry_after_s` more."""

    retry_after_s: int = 1


class Overloaded(Unavailable):
    """More searches come in than this server can answer in time."""


class DeviceMemoryFull(Unavailable):
    """A card cannot hold a model and a batch of one passage now."""


class WorkersUnavailable(Unavailable):
    """Processes that are to encode cannot be started or reached, or are lost again and again."""


class HubUnavailable(Unavailable):
    """The model hub does not answer."""


class ChatUnavailable(Unavailable):
    """The endpoint of a language model does not answer."""


class StorageFull(Unavailable):
    """No space is left on the device."""
