"""The model version whose token vectors an index version holds, beside those it is built by."""

from dataclasses import dataclass

from lockstep.models.manifest import ModelKind
from lockstep.models.registry import ModelVersion


@dataclass(frozen=True)
class LateInteraction:
    """A model version of the kind late-interaction, as an index spec keeps it."""

    model: str  # name@version
    digest: str
    dim: int  # of each token's vector
    max_tokens: int  # of a passage; the model does not see what is beyond

    @classmethod
    def of(cls, version: ModelVersion) -> "LateInteraction":
        """Raises WrongModelKind."""
        version.require(ModelKind.LATE_INTERACTION)
        manifest = version.manifest
        return cls(version.ref, version.digest, manifest.dim, manifest.max_tokens)
