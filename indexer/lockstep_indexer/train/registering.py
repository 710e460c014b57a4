"""The end of a training: a model card, the lineage, and a registered version."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

import lockstep
from lockstep.bootstrap import Workspace
from lockstep.models.manifest import Json
from lockstep.models.registry import ModelVersion
from lockstep_indexer.train.comparison import MEASURE, Comparison
from lockstep_indexer.train.data.examples import TrainingData
from lockstep_indexer.train.order import Order
from lockstep_indexer.train.progress import Course
from lockstep_indexer.train.settings import TrainingSettings

CARD = "README.md"
_PACKAGES = (
    "sentence-transformers", "transformers", "torch", "datasets", "accelerate", "peft",
)  # fmt: skip


def lineage_of(
    order: Order,
    train: TrainingData,
    settings: TrainingSettings,
    course: Course,
    comparison: Comparison,
    contamination: Json,
) -> Json:
    """Where the model comes from, in full: what it takes to train it again, and how good it is."""
    return {
        "source": "lockstep train",
        "corpus": order.corpus,
        "parent": _known(order.base),
        "data": {
            "kind": train.kind.value,
            "examples": len(train),
            "fingerprint": train.fingerprint,
            **train.lineage,
        },
        **({"general": _described(order.general)} if order.general is not None else {}),
        **({"teacher": _known(order.teacher)} if order.teacher is not None else {}),
        **({"guide": _known(order.guide)} if order.guide is not None else {}),
        "settings": settings.to_json(),
        "seed": settings.seed,
        "measures": comparison.to_json(),
        "contamination": contamination,
        "course": course.to_json(),
        "packages": _packages(),
    }


def register(
    workspace: Workspace,
    order: Order,
    folder: Path,
    settings: TrainingSettings,
    lineage: Json,
    comparison: Comparison,
) -> ModelVersion:
    """Write the card into the folder and add the folder as the name's next version."""
    (folder / CARD).write_text(_card(order, settings, lineage, comparison), encoding="utf-8")
    return workspace.models.add(
        order.name,
        folder,
        query_prompt=settings.query_prompt or "",
        document_prompt=settings.document_prompt or "",
        max_tokens=order.base.manifest.max_tokens,
        lineage=lineage,
    )


def _card(order: Order, settings: TrainingSettings, lineage: Json, comparison: Comparison) -> str:
    """A model card; no moment in time, so that the same training gives the same bytes."""
    data = lineage["data"]
    rows = "\n".join(
        f"| {each.dims} | {each.paired.live:.4f} | {each.paired.candidate:.4f} | "
        f"{each.paired.difference:+.4f} ({each.paired.low:+.4f} to {each.paired.high:+.4f}) |"
        for each in comparison.lengths
    )
    measured = (
        f"{MEASURE} on {comparison.lengths[0].paired.queries:,} held-out queries among "
        f"{comparison.passages:,} passages; 95 % interval of the paired difference.\n\n"
        f"| dimensions | base | this model | difference |\n|---|---|---|---|\n{rows}\n"
        if comparison.lengths
        else "Nothing was held out to measure it by.\n"
    )
    trained_on = ", ".join(
        f"`{name}`" for name, leaks in lineage["contamination"].items() if not leaks["clean"]
    )
    caution = f"\nFigures on {trained_on} say nothing: it was trained on.\n" if trained_on else ""
    files = "\n".join(
        f"- `{Path(str(file.get('path'))).name}`, {file.get('examples')} examples, SHA-256 "
        f"`{str(file.get('sha256'))[:12]}`"
        for file in data.get("files", [])
    )
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- feature-extraction
- lockstep
---

# {order.name}

Fine-tuned by `lockstep train` for the corpus `{order.corpus}` from `{order.base.ref}`
(digest `{order.base.digest[:12]}`).

## How good it is

{measured}
It is {comparison.verdict}.
{caution}
## What it was trained on

{data["examples"]:,} examples of kind {data["kind"]}, fingerprint `{data["fingerprint"][:12]}`.
{files}

## How

| setting | value |
|---|---|
{_settings_rows(settings)}

## Use

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("PATH_OR_ID")
queries = model.encode_query(["..."])
passages = model.encode_document(["..."])
```
"""


def _settings_rows(settings: TrainingSettings) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in settings.to_json().items())


def _described(data: TrainingData) -> Json:
    return {"kind": data.kind.value, "fingerprint": data.fingerprint, **data.lineage}


def _known(version: ModelVersion) -> Json:
    return {"ref": version.ref, "digest": version.digest}


def _packages() -> dict[str, str]:
    found = {"lockstep": lockstep.__version__}
    for name in _PACKAGES:
        try:
            found[name] = package_version(name)
        except PackageNotFoundError:
            continue
    return found
