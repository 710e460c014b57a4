"""From a copied folder to a manifest: inspected first, then run, as its kind asks for."""

from pathlib import Path

from lockstep.models.inspection import inspect
from lockstep.models.manifest import ModelKind, ModelManifest
from lockstep.models.reranker_verification import measure_reranker
from lockstep.models.source import Taken
from lockstep.models.token_verification import measure_token_encoder
from lockstep.models.verification import Choices, measure

_MEASURES = {
    ModelKind.ENCODER: measure,
    ModelKind.RERANKER: measure_reranker,
    ModelKind.LATE_INTERACTION: measure_token_encoder,
}


def examine(folder: Path, taken: Taken, choices: Choices) -> ModelManifest:
    """Nothing is loaded of a model that is unsafe. Raises ModelRejected or InvalidSetting."""
    kind = inspect(folder, taken)
    return _MEASURES[kind](folder, taken.files, choices)
