"""The fastest route that agrees is taken; what disagrees or fails is passed over and named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_families import family_model, manifest_of

from lockstep.errors import DeviceMemoryFull, EncodingFailed, InvalidInput, InvalidSetting
from lockstep.models import openvino_form
from lockstep.models.loading import load_model
from lockstep.models.vectors import Vector, cosines
from lockstep.testing import nan_model
from lockstep_indexer.encode import card, ceiling, compiled, packed, padded, passage_encoder
from lockstep_indexer.encode.batches import Budget
from lockstep_indexer.encode.choice import Choosing, first_that_agrees
from lockstep_indexer.encode.numerics import Sample
from lockstep_indexer.encode.padded import PaddedRoute
from lockstep_indexer.encode.passage_encoder import PassageEncoder
from lockstep_indexer.encode.routes import Check, Route, RouteRefused, go_on
from lockstep_indexer.encode.tokens import Tokens

_TEXTS = ["wing of a plane", "", "🙂🙃🚀", "\x00\x07\u200b", "heat " * 90, "a", "wing of a plane"]


@pytest.fixture(scope="module")
def encoder(model: Any) -> PassageEncoder:
    return PassageEncoder.choose(model, manifest_of(), device="cpu")


@pytest.fixture(scope="module")
def sample(model: Any, encoder: PassageEncoder) -> Sample:
    return Sample.of(model, encoder.tokenizer, longest=64)


class Turned:
    """The padded route, but for one passage whose vector is another's."""

    name = "turned"
    min_cosine = 0.9999
    device = "cpu"
    in_fp8 = False

    def __init__(self, model: Any) -> None:
        self._route = PaddedRoute(model)

    def encode(self, tokens: Tokens, *, check: Check = go_on) -> Vector:
        vectors = self._route.encode(tokens, check=check)
        vectors[-1] = vectors[0]
        return vectors


def refused() -> Route:
    raise RouteRefused("it has wings")


def test_a_compiled_model_encodes_on_a_cpu(encoder: PassageEncoder) -> None:
    assert encoder.name.startswith("compiled by OpenVINO")
    assert encoder.report.cosine >= 0.9999
    assert encoder.report.longest == 64
    assert encoder.name in str(encoder.report)


def test_odd_texts_get_the_librarys_vectors_in_their_order(
    model: Any, encoder: PassageEncoder
) -> None:
    vectors = encoder.encode_texts(_TEXTS)
    expected = np.stack([model.encode_document([text])[0] for text in _TEXTS])
    assert vectors.dtype == np.float32
    assert cosines(vectors, expected).min() >= 0.9999
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors.tobytes() == encoder.encode_texts(_TEXTS).tobytes()
    assert encoder.encode_texts([]).shape == (0, 32)


def test_texts_that_are_tokenized_ahead_keep_their_order(
    encoder: PassageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoder.encode_texts(_TEXTS)
    monkeypatch.setattr(passage_encoder, "_TEXTS_AHEAD", 3)
    assert cosines(encoder.encode_texts(_TEXTS), whole).min() >= 0.9999
    with pytest.raises(InvalidInput, match="lone surrogate"):
        encoder.encode_texts([*_TEXTS, "\ud800"])


def test_longer_passages_than_were_compared_go_the_exact_way(
    model: Any, encoder: PassageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = encoder.tokenizer.tokens(_TEXTS)
    whole = encoder.encode(tokens)
    monkeypatch.setattr(compiled, "MAX_MEASURED_TOKENS", 12)
    assert cosines(encoder.encode(tokens), whole).min() >= 0.9999
    exact = PaddedRoute(model).encode(tokens)
    assert np.allclose(encoder.encode(tokens)[4], exact[4], atol=1e-6)


def test_what_disagrees_or_fails_is_passed_over_and_named(model: Any, sample: Sample) -> None:
    routes = [
        ("winged", refused),
        ("turned", lambda: Turned(model)),
        ("broken", lambda: PaddedRoute(model, device="nowhere")),
        ("padded", lambda: PaddedRoute(model)),
    ]
    chosen, report = first_that_agrees(iter(routes), sample)
    assert isinstance(chosen, PaddedRoute)
    assert [each.route for each in report.refused] == ["winged", "turned", "broken"]
    assert report.refused[0].reason == "it has wings"
    assert "lowest cosine" in report.refused[1].reason
    assert "RuntimeError" in report.refused[2].reason


def test_a_card_that_cannot_hold_the_model_leaves_it_to_the_processor(
    model: Any, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90.00 MiB")

    for module in (packed, padded):
        monkeypatch.setattr(module, "moved_copy", full)
    chosen, report = first_that_agrees(Choosing(model, "", 0, "cuda", True).routes(), sample)
    assert chosen.name.startswith("compiled by OpenVINO")
    names = [each.route for each in report.refused]
    assert names[:3] == ["packed and compiled, float16", "packed, float16", "packed, bfloat16"]
    assert {each.reason for each in report.refused} == {
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 90.00 MiB"
    }


def test_the_sample_has_the_special_tokens_of_the_models_own_tokenizer(
    model: Any, sample: Sample
) -> None:
    """A text may hold them: `<pad>` in documentation is the padding token itself."""
    inside = {int(each) for row in range(len(sample.tokens)) for each in inner(sample.tokens, row)}
    assert {model.tokenizer.pad_token_id, model.tokenizer.mask_token_id} <= inside


def inner(tokens: Tokens, row: int) -> Any:
    """The ids without those that a tokenizer puts around each text."""
    return tokens.passage(row)[1:-1]


def test_without_a_route_that_agrees_there_is_no_encoder(model: Any, sample: Sample) -> None:
    with pytest.raises(EncodingFailed, match="winged: it has wings; turned: its lowest cosine"):
        first_that_agrees(iter([("winged", refused), ("turned", lambda: Turned(model))]), sample)


def test_half_of_a_sample_does_not_pass_for_all_of_it(model: Any, sample: Sample) -> None:
    half = replace(sample, expected=sample.expected[:-1])
    assert half.lowest_cosine(PaddedRoute(model)) == -1


def test_without_openvino_torch_encodes(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "is_installed", lambda: False)
    chosen = PassageEncoder.choose(model, manifest_of(), device="cpu")
    assert chosen.name.startswith("padded")
    assert chosen.report.refused[0].reason == "OpenVINO is not installed"
    assert openvino_form.is_installed()


def test_a_prompt_outside_of_pooling_is_not_compiled(tmp_path: Path) -> None:
    model: Any = load_model(family_model(tmp_path, "bert", include_prompt=False), device="cpu")
    encoder = PassageEncoder.choose(model, manifest_of(prompt="represent: "), device="cpu")
    assert "leaves out the prompt" in encoder.report.refused[0].reason
    expected = model.encode_document(["wing"], prompt="represent: ")
    assert cosines(encoder.encode_texts(["wing"]), expected).item() >= 0.9999


def test_few_tokens_will_do(folder: Path) -> None:
    model: Any = load_model(folder, device="cpu")
    encoder = PassageEncoder.choose(model, manifest_of(max_tokens=32), device="cpu")
    assert encoder.report.longest == 32
    assert cosines(encoder.encode_texts(_TEXTS), model.encode(_TEXTS)).min() >= 0.9999


def test_a_tokenizer_without_a_padding_token_will_do(
    without_padding: Any, encoder: PassageEncoder
) -> None:
    own = PassageEncoder.choose(without_padding, manifest_of(), device="cpu")
    assert cosines(own.encode_texts(_TEXTS), encoder.encode_texts(_TEXTS)).min() >= 0.9999


def test_a_model_that_gives_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncodingFailed, match="NaN, infinity or only zeros for all"):
        PassageEncoder.choose(
            load_model(nan_model(tmp_path), device="cpu"), manifest_of(), device="cpu"
        )


def test_a_passage_without_tokens_is_named(encoder: PassageEncoder) -> None:
    with pytest.raises(EncodingFailed, match="passage 2"):
        encoder.encode(Tokens.of([[2, 3], [], [2, 3]]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_missing_driver_is_said(model: Any) -> None:
    with pytest.raises(InvalidSetting, match="'cuda' cannot be used"):
        PassageEncoder.choose(model, manifest_of(), device="cuda")


def test_a_model_in_half_precision_is_not_compared_with(folder: Path) -> None:
    half = load_model(folder, device="cpu").half()
    with pytest.raises(ValueError, match="float32 on the CPU"):
        PassageEncoder.choose(half, manifest_of(), device="cpu")


class TestFullCards:
    """What does not fit is run again in halves, and nothing else is."""

    @staticmethod
    def run(fits: int, count: int = 40) -> tuple[list[int], Budget]:
        done: list[int] = []
        budget = Budget(16)

        def run(start: int, end: int) -> None:
            if end - start > fits:
                raise torch.OutOfMemoryError("CUDA out of memory")
            done.extend(range(start, end))

        card.halving(
            count,
            lambda start, tokens: min(start + tokens, count),
            run,
            budget,
            lambda start, end: end - start,
            "cpu",
        )
        return done, budget

    def test_the_ceiling_is_measured_as_large_as_fits(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fits = 2048

        def rate(device: str, size: int) -> float:
            if size > fits:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return float(size)

        monkeypatch.setattr(ceiling, "_matmul_rate", rate)
        assert ceiling.matmul_ceiling("cuda") == 2048
        fits = 0
        assert np.isnan(ceiling.matmul_ceiling("cuda"))

    def test_other_errors_are_no_full_card(self) -> None:
        def broken(start: int, end: int) -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        def whole(start: int, tokens: int) -> int:
            return 4

        with pytest.raises(RuntimeError, match="illegal"):
            card.halving(4, whole, broken, Budget(4), whole, "cpu")

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`"),
        ],
    )
    def test_a_budget_is_found_below_what_does_not_fit(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """2 KiB a token on a card with 12 MiB left, 80 % of which may be used."""
        kib = 1 << 10
        tried: list[int] = []
        figures = {"memory_allocated": 0, "max_memory_allocated": 4000 * 2 * kib}
        for name, figure in figures.items():
            monkeypatch.setattr(torch.cuda, name, lambda device, figure=figure: figure)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (12_000 * kib, 1 << 30))

        def run(tokens: int) -> int:
            tried.append(tokens)
            if tokens > 4_096:
                raise error
            return 4_000  # of whole passages

        assert card.found_budget("cuda", run).tokens == 4_800
        assert tried == [8_192, 4_096]

        def never(tokens: int) -> int:
            raise error

        with pytest.raises(DeviceMemoryFull, match="A batch of 256 tokens does not fit on cuda"):
            card.found_budget("cuda", never)

    @pytest.mark.parametrize(("fits", "left"), [(16, 16), (5, 4), (1, 1)])
    def test_nothing_is_lost_and_nothing_done_twice(self, fits: int, left: int) -> None:
        done, budget = self.run(fits)
        assert done == list(range(40))
        assert budget.tokens == left

    def test_one_passage_too_many_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 20, 1 << 30))
        with pytest.raises(DeviceMemoryFull, match=r"1 of 1024 MiB are free.*cpu"):
            self.run(0)
