"""How a model version's lineage looks: where it comes from, and how good it was found."""

from collections.abc import Mapping
from typing import Any

_TRAINED = "lockstep train"


def lineage_facts(lineage: Mapping[str, Any]) -> list[tuple[str, object]]:
    """One line for each thing worth reading; the whole lineage is in --json."""
    if lineage.get("source") != _TRAINED:
        return [(f"lineage: {key}", value) for key, value in lineage.items()]
    course, settings = lineage.get("course", {}), lineage.get("settings", {})
    return [
        ("trained from", _model(lineage.get("parent"))),
        ("trained for", lineage.get("corpus")),
        ("on", _data(lineage.get("data", {}))),
        ("general examples", _data(lineage["general"]) if "general" in lineage else ""),
        ("teacher", _model(lineage.get("teacher"))),
        ("guide", _model(lineage.get("guide"))),
        ("by", _settings(settings)),
        ("course", _course(course)),
        ("on the way", "; ".join(course.get("events", []))),
        *_measures(lineage.get("measures", {})),
        ("contamination", _contamination(lineage.get("contamination", {}))),
        ("trained with", _packages(lineage.get("packages", {}))),
    ]


def _model(known: Mapping[str, Any] | None) -> str:
    return f"{known['ref']}, digest {known['digest'][:12]}" if known else ""


def _data(data: Mapping[str, Any]) -> str:
    files = ", ".join(str(file.get("path")) for file in data.get("files", []))
    count = f"{data['examples']:,} " if "examples" in data else ""
    source = files or data.get("source", "")
    named = f" of {source}" if source else ""
    return f"{count}{data.get('kind')}{named}, fingerprint {str(data.get('fingerprint'))[:12]}"


def _settings(settings: Mapping[str, Any]) -> str:
    shown = {
        "loss": "",
        "epochs": "epochs ",
        "batch_size": "batch ",
        "learning_rate": "rate ",
        "lora_rank": "LoRA rank ",
        "mix_in_share": "mix-in ",
        "keep_share": "kept ",
        "seed": "seed ",
    }
    parts = [
        f"{say}{settings[name]:g}"
        if isinstance(settings[name], float)
        else f"{say}{settings[name]}"
        for name, say in shown.items()
        if settings.get(name)
    ]
    blend = settings.get("blend", 1)
    return ", ".join([*parts, *([f"blend {blend}"] if blend != 1 else [])])


def _course(course: Mapping[str, Any]) -> str:
    losses = course.get("losses") or []
    fell = f", loss {losses[0][1]:.3f} to {losses[-1][1]:.3f}" if losses else ""
    best = f", the best after {course['best_step']}" if course.get("best_step") else ""
    return f"{course.get('steps')} steps in {course.get('precision')}{best}{fell}"


def _measures(measures: Mapping[str, Any]) -> list[tuple[str, object]]:
    name = measures.get("measure", "quality")
    lines: list[tuple[str, object]] = [
        (
            f"{name}, {each['dims']} dims",
            f"{each['base']:.4f} → {each['trained']:.4f} ({each['low']:+.4f} to "
            f"{each['high']:+.4f}), {each['queries']:,} held-out queries",
        )
        for each in measures.get("lengths", [])
    ]
    return [*lines, ("verdict", measures.get("verdict", ""))]


def _contamination(found: Mapping[str, Any]) -> str:
    names = [
        name if leaks["clean"] else f"{name} ({leaks['share']:.0%} of it is trained on)"
        for name, leaks in found.items()
    ]
    return f"checked against {', '.join(names)}" if names else "nothing to check against"


def _packages(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in packages.items())
