"""The command that builds a version once more gives its spec again, but for what changes."""

import shlex
from dataclasses import replace
from typing import Any

import pytest
import typer
from generations import MODEL, version_of

from lockstep.index.late_interaction import LateInteraction
from lockstep.index.rebuilding import another_type, reindex_command
from lockstep.index.spec import IndexSpec, SpecOptions, resolve
from lockstep.models.manifest import ModelManifest
from lockstep_indexer.cli.app import app
from lockstep_indexer.cli.build_options import payload_indexes

LATE = LateInteraction("colbert@2", "d" * 64, dim=128, max_tokens=48)
SHORT = replace(MODEL, dim=128, matryoshka_dims=(64, 128))
EVERYTHING = SpecOptions(
    window_tokens=32,
    prefilter_dim=16,
    language="german",
    datatype="float16",
    quantization="none",
    payload_indexes={"lang": "keyword", "authors[].name": "text", '"in print"': "bool"},
    late_interaction=LATE,
    fp8=True,
)


def read_again(command: str) -> SpecOptions:
    """The options as the command line itself understands them."""
    program, name, *words = shlex.split(command)
    assert (program, name) == ("lockstep", "reindex")
    group: Any = typer.main.get_command(app)
    found = group.commands[name].make_context(name, words).params
    return SpecOptions(
        window_tokens=found["window_tokens"],
        prefilter_dim=found["prefilter_dim"],
        language=found["language"],
        datatype=found["dtype"],
        quantization=found["quantization"],
        payload_indexes=payload_indexes(found["index"]),
        late_interaction=LATE if found["late_interaction"] == LATE.model else None,
        fp8=found["fp8"],
    )


@pytest.mark.parametrize("known", [True, False], ids=["model known", "model unknown"])
@pytest.mark.parametrize("model", [MODEL, SHORT], ids=["plain", "matryoshka"])
@pytest.mark.parametrize(
    "options",
    [SpecOptions(), EVERYTHING, SpecOptions(prefilter_dim=0), SpecOptions(late_interaction=LATE)],
    ids=["usual", "everything", "no prefilter", "late interaction"],
)
def test_it_gives_the_same_spec_again(
    options: SpecOptions, model: ModelManifest, known: bool
) -> None:
    spec = resolve(options, model, 10.0)
    command = reindex_command(version_of(spec), model if known else None)
    assert spec.matches(read_again(command), model), command


def test_what_is_usual_is_left_out() -> None:
    command = reindex_command(version_of(resolve(SpecOptions(), SHORT, 10.0)), SHORT)
    assert command == "lockstep reindex docs --model tiny@1"


def test_one_thing_changes_and_the_rest_stays() -> None:
    version = version_of(resolve(EVERYTHING, MODEL, 10.0))

    def after(**change: object) -> IndexSpec:
        command = reindex_command(version, MODEL, **change)  # type: ignore[arg-type]
        return resolve(read_again(command), MODEL, 10.0)

    assert after(prefilter_dim=24) == replace(version.spec, prefilter_dim=24)
    more = {**version.spec.payload_indexes, "year": "integer"}
    assert after(indexes={"year": "integer"}) == replace(version.spec, payload_indexes=more)
    assert "--late-interaction REF" in reindex_command(version, MODEL, late_interaction="REF")


def test_a_field_is_given_another_type_knowingly() -> None:
    spec = resolve(SpecOptions(payload_indexes={"topic": "keyword"}), MODEL, 10.0)
    said = another_type(version_of(spec), MODEL, "topic", "integer", "boost by")
    assert said.startswith("A field has one type: boost by another field, or give 'topic' the type")
    assert said.endswith("lockstep reindex docs --model tiny@1 --index topic:integer")
