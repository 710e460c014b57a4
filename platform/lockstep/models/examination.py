"""From a copied folder to a manifest: inspected first, then run, as its kind asks for."""

from pathlib import Path

from lockstep.models.inspection import inspect
from lockstep.models.manifest import ModelKind, ModelManifest
from lockstep.models.reranker_verification import measure_reranker
from lockstep.models.source import Taken
from lockstep.models.verification import Choices, measure


def examine(folder: Path, taken: Taken, choices: Choices) -> ModelManifest:
    """Nothing is loaded of a model that is unsafe. Raises ModelRejected or InvalidSetting."""
    if inspect(folder, taken) is ModelKind.RERANKER:
        return measure_reranker(folder, taken.files, choices)
    return measure(folder, taken.files, choices)
