"""Compiled models encode queries only where they give torch's vectors, and whatever is on disk."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Encoding

from lockstep.corpus.database import Database
from lockstep.models import openvino_form, query_compiler, tracing
from lockstep.models.agreement import Agreement, Sample, a_few, all_lengths, measure
from lockstep.models.artefacts import ArtefactStore
from lockstep.models.compilation_report import CompilationReport
from lockstep.models.compiled_files import CompiledFiles
from lockstep.models.encoder import Encoder, QueryOptions
from lockstep.models.loading import load_model
from lockstep.models.query_compiler import QueryCompiler
from lockstep.models.registry import ModelRegistry, ModelVersion
from lockstep.models.torch_form import TorchForm, torch_form
from lockstep.models.vectors import Vector, cosines
from lockstep.testing import tiny_model

_TEXTS = ["the wing of an aircraft", "x", "", "äöüß 世界", "long " * 400, "heat in slabs", "y"]
_PROMPT = "query: "


@dataclass(frozen=True)
class Models:
    """A registry whose models are compiled, with one tiny model in it."""

    folder: Path
    registry: ModelRegistry
    artefacts: ArtefactStore
    version: ModelVersion

    def encoder(self, **options: int) -> Encoder:
        queries = QueryOptions(QueryCompiler(CompiledFiles(self.artefacts)), **options)
        return Encoder.load(self.version, self.artefacts, device="cpu", queries=queries)

    @property
    def compiled(self) -> Path:
        (folder,) = (self.artefacts.local_root / ".compiled").iterdir()
        return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("compiled")
    database = Database(f"sqlite:///{folder}/catalog.db")
    database.migrate()
    artefacts = ArtefactStore(str(folder / "artefacts"))
    registry = ModelRegistry(database, artefacts, QueryCompiler(CompiledFiles(artefacts)))
    version = registry.add("m", tiny_model(folder / "model"), query_prompt=_PROMPT)
    return Models(folder, registry, artefacts, version)


@pytest.fixture
def models(original: Models, tmp_path: Path) -> Models:
    """A copy whose files the test may change."""
    shutil.copytree(original.folder / "artefacts", tmp_path / "artefacts")
    return replace(original, artefacts=ArtefactStore(str(tmp_path / "artefacts")))


@pytest.fixture(scope="module")
def encoder(original: Models) -> Encoder:
    return original.encoder(cache=4)


@pytest.fixture(scope="module")
def plain(original: Models) -> Encoder:
    """The same model version, encoded by torch."""
    return Encoder.load(original.version, original.artefacts, device="cpu")


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[TorchForm]:
    """What is traced from here on."""
    forms: list[TorchForm] = []

    def counted(form: TorchForm) -> object:
        forms.append(form)
        return tracing.traced(form)

    monkeypatch.setattr(query_compiler, "traced", counted)
    return forms


def is_compiled(encoder: Encoder) -> bool:
    return bool(encoder.query_report.precision)


def agrees(encoder: Encoder, plain: Encoder) -> bool:
    ours = np.concatenate([encoder.encode_queries([text]) for text in _TEXTS])
    theirs = np.concatenate([plain.encode_queries([text]) for text in _TEXTS])
    return bool((cosines(ours, theirs) >= 0.9999).all())


def test_what_was_measured_is_kept_with_the_version(original: Models) -> None:
    manifest = original.registry.get("m", 1).manifest
    report = CompilationReport.from_json(manifest.query_encoder)
    assert report.agreement is not None
    assert report.agreement.cosine >= 0.9999
    assert report.engine.startswith("OpenVINO")
    assert report.query_ms > 0
    assert report.torch_ms > 0
    assert report.max_tokens == manifest.max_tokens
    assert replace(manifest, query_encoder={}).digest == manifest.digest


def test_a_model_that_was_compiled_before_is_not_compiled_again(
    original: Models, traces: list[TorchForm]
) -> None:
    again = original.registry.add("again", original.folder / "model", query_prompt=_PROMPT)
    for key in ("precision", "query_ms", "texts"):
        assert again.manifest.query_encoder[key] == original.version.manifest.query_encoder[key]
    assert not traces


def test_compiled_queries_are_torchs(encoder: Encoder, plain: Encoder) -> None:
    assert is_compiled(encoder)
    assert not is_compiled(plain)
    assert agrees(encoder, plain)
    assert (cosines(encoder.encode_queries(_TEXTS), plain.encode_queries(_TEXTS)) >= 0.9999).all()


def test_a_query_has_the_same_bits_always(original: Models) -> None:
    """Alone, beside callers with other queries, in one call with others, and remembered."""
    encoder = original.encoder(cache=2)
    alone = {text: encoder.encode_queries([text]).tobytes() for text in _TEXTS}
    together = encoder.encode_queries(_TEXTS)
    assert [row.tobytes() for row in together] == list(alone.values())
    asked = [_TEXTS[number % len(_TEXTS)] for number in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        for encode in (encoder.encode_query, lambda text: encoder.encode_queries([text])):
            answers = pool.map(lambda text: encode(text).tobytes(), asked)  # noqa: B023
            assert all(bits == alone[text] for text, bits in zip(asked, answers, strict=True))


def test_calls_with_many_queries_at_once_do_not_mix(encoder: Encoder) -> None:
    calls = [[f"{number} {text}" for text in _TEXTS] for number in range(24)]
    expected = [encoder.encode_queries(call).tobytes() for call in calls]
    with ThreadPoolExecutor(8) as pool:
        assert [found.tobytes() for found in pool.map(encoder.encode_queries, calls)] == expected


def test_passages_stay_torchs(encoder: Encoder, plain: Encoder) -> None:
    assert encoder.encode_passages(_TEXTS).tobytes() == plain.encode_passages(_TEXTS).tobytes()


def test_what_is_stored_is_used(models: Models, traces: list[TorchForm]) -> None:
    assert is_compiled(models.encoder())
    assert not traces


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


_DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped weights": lambda folder: _flip(folder / "model.bin"),
    "no weights": lambda folder: (folder / "model.bin").unlink(),
    "no record": lambda folder: (folder / "record.json").unlink(),
    "half a record": lambda folder: (folder / "record.json").write_text('{"key": ['),
    "a list": lambda folder: (folder / "record.json").write_text("[]"),
    "nothing at all": shutil.rmtree,
    "another version": lambda folder: folder.rename(folder.with_name("other")),
}


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES.keys())
def test_what_is_missing_or_damaged_is_made_again(
    models: Models, plain: Encoder, traces: list[TorchForm], damage: Callable[[Path], object]
) -> None:
    damage(models.compiled)
    again = models.encoder()
    assert is_compiled(again)
    assert agrees(again, plain)
    assert len(traces) == 1
    assert is_compiled(models.encoder())
    assert len(traces) == 1


def test_a_record_of_another_shape_is_made_again(models: Models, traces: list[TorchForm]) -> None:
    path = models.compiled / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"report": {"agreements": {}}}))
    assert is_compiled(models.encoder())
    assert len(traces) == 1


def test_another_models_compiled_form_is_not_used(
    models: Models, plain: Encoder, tmp_path: Path
) -> None:
    """All checksums are right, and the weights are not."""
    other = load_model(tiny_model(tmp_path / "other", seed=7), device="cpu")
    form = torch_form(other, _PROMPT)
    assert form is not None
    record = json.loads((models.compiled / "record.json").read_text())
    QueryCompiler(CompiledFiles(models.artefacts))._make(models.version.digest, form)
    assert json.loads((models.compiled / "record.json").read_text())["files"] != record["files"]
    encoder = models.encoder()
    assert "does not agree on this processor" in encoder.query_report.reason
    assert encoder.encode_queries(_TEXTS[:1]).tobytes() == (
        plain.encode_queries(_TEXTS[:1]).tobytes()
    )


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(models: Models) -> None:
    shutil.rmtree(models.compiled.parent)
    (models.artefacts.local_root / ".compiled").write_text("in the way")
    assert is_compiled(models.encoder())


def test_a_model_that_cannot_be_traced_is_left_to_torch(
    models: Models, plain: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(form: TorchForm) -> object:
        attempts.append(form)
        raise RuntimeError("unsupported operator\nand much more")

    attempts: list[TorchForm] = []
    monkeypatch.setattr(tracing, "_trace", fail)
    shutil.rmtree(models.compiled)
    for _ in range(2):
        encoder = models.encoder()
        assert encoder.query_report.reason == (
            "it cannot be traced: RuntimeError: unsupported operator"
        )
        assert agrees(encoder, plain)
    assert len(attempts) == 1  # the second load knew


def test_what_does_not_agree_is_left_to_torch(
    models: Models, plain: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.models.agreement.MIN_COSINE", 1.1)
    shutil.rmtree(models.compiled)
    for _ in range(2):
        encoder = models.encoder()
        assert "its lowest cosine with torch is " in encoder.query_report.reason
        assert agrees(encoder, plain)


def test_vectors_without_a_length_are_left_to_torch(
    models: Models, plain: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.models.openvino_form import OpenVinoForm

    encode = OpenVinoForm.encode
    monkeypatch.setattr(OpenVinoForm, "encode", lambda *given: encode(*given) * np.nan)
    shutil.rmtree(models.compiled)
    for _ in range(2):
        encoder = models.encoder()
        assert "its lowest cosine with torch is -1.0" in encoder.query_report.reason
        assert agrees(encoder, plain)


def test_queries_longer_than_what_was_compared_take_torch(
    models: Models, plain: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_compiler, "MAX_MEASURED_TOKENS", 48)
    shutil.rmtree(models.compiled)
    encoder = models.encoder()
    assert encoder.query_report.max_tokens <= 48
    long = "long " * 400
    assert encoder.encode_queries([long]).tobytes() == plain.encode_queries([long]).tobytes()
    assert agrees(encoder, plain)
    assert (cosines(encoder.encode_queries(_TEXTS), plain.encode_queries(_TEXTS)) >= 0.9999).all()


def test_without_openvino_torch_encodes(
    models: Models, plain: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    encoder = models.encoder()
    assert encoder.query_report.reason == "OpenVINO is not installed"
    assert agrees(encoder, plain)


def test_a_model_of_other_than_plain_text_is_left_to_the_library(
    original: Models, tmp_path: Path, edit: Callable[[Path, dict[str, object]], None]
) -> None:
    model = tiny_model(tmp_path / "model")
    edit(model / "1_Pooling" / "config.json", {"include_prompt": False})
    version = original.registry.add("other", model, query_prompt="instruction: ")
    assert "plain text" in version.manifest.query_encoder["reason"]


def test_dense_layers_are_compiled_too(original: Models, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    library = SentenceTransformer(str(original.folder / "model"), device="cpu")
    library.insert(2, Dense(in_features=32, out_features=16))
    library.save_pretrained(str(tmp_path / "dense"))
    version = original.registry.add("dense", tmp_path / "dense")
    assert version.manifest.dim == 16
    assert version.manifest.query_encoder["precision"]


def _lone_lengths(encoder: Encoder) -> dict[int, object]:
    queries = encoder._query_encoder()
    assert queries is not None
    assert queries._compiled is not None
    return dict(queries._compiled._lone)


@pytest.mark.parametrize("stored", [True, False])
def test_lone_queries_of_common_lengths_keep_their_bits(
    models: Models, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    monkeypatch.setattr(openvino_form, "_LONE_PARAMETERS", range(1, 10**9))
    if not stored:
        shutil.rmtree(models.artefacts.local_root / ".compiled")
    encoder = models.encoder()
    assert set(_lone_lengths(encoder)) == {16, 32}
    texts = [" ".join(["wing", "heat"] * words) for words in range(1, 14)]
    alone = [encoder.encode_queries([text]).tobytes() for text in texts]
    assert [row.tobytes() for row in encoder.encode_queries(texts + texts)] == alone + alone


def test_a_lone_length_of_other_bits_is_not_used(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = openvino_form._Compiled.run

    def off(self: object, columns: Sequence[Vector]) -> Vector:
        made.setdefault(id(self), len(made))
        last_bits = np.float32(1e-7) if made[id(self)] and columns[0].shape[1] == 16 else 0
        return run(self, columns) + last_bits  # type: ignore[arg-type]

    made: dict[int, int] = {}  # the first is the model for all lengths
    monkeypatch.setattr(openvino_form, "_LONE_PARAMETERS", range(1, 10**9))
    monkeypatch.setattr(openvino_form._Compiled, "run", off)
    assert set(_lone_lengths(models.encoder())) == {32}


def test_a_small_model_is_compiled_once(encoder: Encoder) -> None:
    assert _lone_lengths(encoder) == {}


def test_openvino_tells_nobody() -> None:
    script = (
        "import sys; from lockstep.models.openvino_form import openvino; "
        "openvino().Core(); "
        "print([name for name in sys.modules if 'telemetry' in name or 'ovc' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@dataclass(frozen=True)
class Altered:
    """A form whose vectors are another's, altered."""

    form: TorchForm
    alter: Callable[[Vector], Vector]
    batches: bool = True

    @property
    def tokens(self) -> object:
        return self.form.tokens

    def encode(self, queries: Sequence[Encoding]) -> Vector:
        return self.alter(self.form.encode(queries))


def _one_row_off(vectors: Vector) -> Vector:
    """Wrong for the last of a batch of several, as if padding were read as words."""
    return np.concatenate([vectors[:-1], vectors[-1:] + (0.05 if len(vectors) > 1 else 0)])


def test_agreement_is_the_worst_text_alone_or_in_a_batch(plain: Encoder) -> None:
    form = torch_form(plain._model, "")
    assert form is not None
    sample = Sample.of(form, all_lengths(64))
    assert {len(query.ids) for query in sample.queries} >= {2, 3, 64}

    def measured(alter: Callable[[Vector], Vector]) -> Agreement:
        return measure(Altered(form, alter), sample, 64)  # type: ignore[arg-type]

    same = measured(lambda vectors: vectors)
    assert (same.holds, same.stable) == (True, True)
    off = measured(_one_row_off)
    assert (off.holds, off.stable) == (False, False)
    for broken in (np.nan, np.inf, 0.0):
        assert not measured(lambda vectors: vectors * broken).holds  # noqa: B023
    last_bits = measured(lambda vectors: vectors + np.float32(1e-7) * (len(vectors) > 1))
    assert (last_bits.holds, last_bits.stable) == (True, False)


def test_the_short_check_covers_short_lengths(plain: Encoder) -> None:
    lengths = {len(plain.tokenizer.encode(text).ids) for text in a_few()}
    assert min(lengths) <= 8
    assert len({-(-length // 8) for length in lengths}) >= 3
