"""What training does to weights, and how it goes on after what goes wrong."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from training import TINY, hard, pairs, same_weights, stopping_at, weights

from lockstep.errors import (
    DeviceMemoryFull,
    InvalidInput,
    InvalidSetting,
    StorageFull,
    TrainingDiverged,
)
from lockstep.models.inspection import inspect
from lockstep.models.manifest import ModelKind
from lockstep.models.source import take
from lockstep.testing import tiny_model
from lockstep_indexer.train.data.examples import Entailment, Example, Kind, TrainingData
from lockstep_indexer.train.distillation import encoded
from lockstep_indexer.train.fine_tune import Surroundings, fine_tune, first_attempt
from lockstep_indexer.train.holdout import retrieval_test
from lockstep_indexer.train.lessons import Material
from lockstep_indexer.train.loading import load_trainable
from lockstep_indexer.train.progress import Course, Listener
from lockstep_indexer.train.recovery import is_out_of_memory
from lockstep_indexer.train.running import Run
from lockstep_indexer.train.settings import Loss, Precision
from lockstep_indexer.train.trainer import Trainer

Compute = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def _no_collections() -> Iterator[None]:
    """The library collects garbage after each training: half the time of one this small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda *_: 0)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "model", prompts={"query": "q: "})


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model after an undisturbed training of 20 steps."""
    folder = tmp_path_factory.mktemp("tuned")
    _tune(base, folder)
    return folder / "out"


def _tune(base: Path, folder: Path, *, listener: Listener | None = None, **changes: Any) -> Any:
    settings = replace(TINY, **changes)
    around = Surroundings(
        device="cpu", checkpoints=folder / "steps", listener=listener or Listener()
    )
    return fine_tune(base, Material(pairs(320)), folder / "out", settings, around)


def test_training_helps_at_every_length(base: Path, tuned: Path) -> None:
    test = retrieval_test(pairs(40, seed=2), [], limit=200, seed=1)
    before, after = (test.measure(load_trainable(at), (32, 16)) for at in (base, tuned))
    for low, high in zip(before, after, strict=True):
        assert high.values.mean() > low.values.mean() + 0.05


def test_half_precision_trains_and_leaves_whole_weights(base: Path, tmp_path: Path) -> None:
    course = _tune(base, tmp_path, precision=Precision.BF16)
    assert course.precision is Precision.BF16
    assert {each.dtype for each in weights(tmp_path / "out").values()} == {np.dtype("float32")}
    assert not same_weights(base, tmp_path / "out")


def test_the_same_seed_gives_the_same_weights(base: Path, tuned: Path, tmp_path: Path) -> None:
    _tune(base, tmp_path)
    assert same_weights(tuned, tmp_path / "out")
    _tune(base, tmp_path / "other", seed=8)
    assert not same_weights(tuned, tmp_path / "other" / "out")


def test_an_interrupted_training_ends_as_an_undisturbed_one(
    base: Path, tuned: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _tune(base, tmp_path, listener=Listener(progress=stopping_at(13)))
    assert not (tmp_path / "out").exists()
    half_written = tmp_path / "steps" / "checkpoint-12"
    half_written.mkdir()
    (half_written / "trainer_state.json").write_text("{")

    course = _tune(base, tmp_path)

    assert course.resumed_at == 10
    assert not half_written.exists()
    assert same_weights(tuned, tmp_path / "out")


def test_a_loss_that_is_no_number_goes_back_and_slows_down(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(trainer: Trainer, loss: torch.Tensor) -> torch.Tensor:
        fast = trainer.args.learning_rate > TINY.learning_rate / 2
        return loss * float("nan") if trainer.state.global_step == 14 and fast else loss

    monkeypatch.setattr(Trainer, "compute_loss", _computing(poison))
    said: list[str] = []

    course = _tune(base, tmp_path, listener=Listener(note=said.append))

    assert course.events == said
    assert "no number" in said[0]
    assert "rate of 0.0025" in said[0]
    assert (course.resumed_at, course.steps) == (10, 20)
    assert all(np.isfinite(tensor).all() for tensor in weights(tmp_path / "out").values())


def test_a_loss_that_stays_no_number_fails_and_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "compute_loss", _computing(lambda _, loss: loss * float("nan")))
    monkeypatch.setattr("lockstep_indexer.train.fine_tune.MAX_RETRIES", 1)
    with pytest.raises(TrainingDiverged, match="in each of 2 attempts"):
        _tune(base, tmp_path)
    assert not (tmp_path / "out").exists()


def test_little_memory_is_answered_by_pieces_of_the_same_batch(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(trainer: Trainer, loss: torch.Tensor) -> torch.Tensor:
        found = next(iter(trainer.loss.values())).loss
        if getattr(found, "mini_batch_size", 99) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss

    monkeypatch.setattr(Trainer, "compute_loss", _computing(fail))

    course = _tune(base, tmp_path)

    assert ["pieces of 8" in course.events[0], "pieces of 4" in course.events[1]] == [True, True]
    assert course.steps == 20  # each of them by 16 examples


def test_too_little_memory_for_anything_says_so(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(Trainer, "compute_loss", _computing(fail))
    with pytest.raises(DeviceMemoryFull, match="smallest batch"):
        _tune(base, tmp_path, batch_size=4, micro_batch=1)


def test_a_full_disk_says_so(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os err)")

    monkeypatch.setattr(Trainer, "_save", fail)
    with pytest.raises(StorageFull, match="No space is left"):
        _tune(base, tmp_path)


def test_a_disk_without_room_for_checkpoints_is_told_before_the_training(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(tensor.nbytes for tensor in weights(base).values())
    free = {"now": 9 * size}
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free["now"]))
    with pytest.raises(StorageFull, match="nothing was trained"):
        _tune(base, tmp_path)
    assert not (tmp_path / "steps").exists()
    free["now"] = 11 * size
    _tune(base, tmp_path)
    taken = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert taken > 6 * size  # two checkpoints, and the result


_NLI = TrainingData(
    Kind.NLI,
    [
        Example((f"premise {n}", f"{label} {n}"), label=label)
        for n in range(24)
        for label in (Entailment.ENTAILMENT, *([Entailment.CONTRADICTION] if n % 2 else []))
    ],
    {},
)
_SCORED = TrainingData(
    Kind.SCORED, [Example((f"one {n}", f"two {n}"), score=n % 6 / 5) for n in range(32)], {}
)


@pytest.mark.parametrize(
    ("material", "loss"),
    [
        (Material(hard(32, negatives=3)), None),
        (Material(hard(32)), Loss.TRIPLET),
        (Material(_NLI), None),
        (Material(_SCORED), None),
    ],
    ids=["ranking", "triplet", "nli", "cosent"],
)
def test_each_kind_of_data_trains(
    base: Path, tmp_path: Path, material: Material, loss: Loss | None
) -> None:
    fine_tune(base, material, tmp_path / "out", replace(TINY, loss=loss))
    assert not same_weights(base, tmp_path / "out")


@pytest.mark.parametrize("loss", [Loss.GIST, Loss.CACHED_GIST])
def test_a_guide_stays_as_it_is(base: Path, tmp_path: Path, loss: Loss) -> None:
    guide = tiny_model(tmp_path / "guide", seed=3)
    kept = tiny_model(tmp_path / "kept", seed=3)
    material = Material(hard(32, negatives=2), guide=guide)
    fine_tune(base, material, tmp_path / "out", replace(TINY, loss=loss, micro_batch=8))
    assert same_weights(guide, kept)


def test_adapters_become_part_of_a_plain_model(base: Path, tmp_path: Path) -> None:
    _tune(base, tmp_path, lora_rank=4)
    out, copy = tmp_path / "out", tmp_path / "copy"
    assert weights(out).keys() == weights(base).keys()
    assert not same_weights(out, base)
    embeddings = "embeddings.word_embeddings.weight"
    assert np.array_equal(weights(out)[embeddings], weights(base)[embeddings])
    assert inspect(out, take(out, copy)) is ModelKind.ENCODER


def test_a_blend_lies_between_base_and_trained(base: Path, tuned: Path, tmp_path: Path) -> None:
    _tune(base, tmp_path, blend=0.25)
    before, after, between = weights(base), weights(tuned), weights(tmp_path / "out")
    for name in before:
        expected = before[name] + 0.25 * (after[name] - before[name])
        np.testing.assert_allclose(between[name], expected, atol=1e-6)


def test_kept_texts_keep_their_vectors(base: Path, tuned: Path, tmp_path: Path) -> None:
    general = TrainingData(
        Kind.PAIRS, [Example((f"general {n}", f"text {n} of all")) for n in range(200)], {}
    )
    settings = replace(TINY, keep_share=0.4)
    fine_tune(base, Material(pairs(320), general), tmp_path / "out", settings)

    texts = [f"general {n}" for n in range(300, 320)]
    first, plain, kept = (
        encoded(load_trainable(at), texts, "") for at in (base, tuned, tmp_path / "out")
    )
    assert (first * kept).sum(axis=1).mean() > (first * plain).sum(axis=1).mean() + 0.02


def test_shares_need_something_to_share(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="general examples"):
        fine_tune(base, Material(pairs(32)), tmp_path / "out", replace(TINY, mix_in_share=0.2))


def test_one_text_in_most_examples_fills_no_batch(base: Path, tmp_path: Path) -> None:
    examples = [Example((f"query {n}", f"answer {n % 2}")) for n in range(60)]
    data = TrainingData(Kind.PAIRS, examples, {})
    with pytest.raises(InvalidInput, match=r"2\.0 examples on average"):
        fine_tune(base, Material(data), tmp_path / "out", TINY)


def test_prompts_are_trained_with_and_kept(base: Path, tmp_path: Path) -> None:
    settings = replace(TINY, query_prompt="ask: ", document_prompt="say: ")
    fine_tune(base, Material(pairs(32)), tmp_path / "out", settings)
    prompts = load_trainable(tmp_path / "out").prompts
    assert (prompts["query"], prompts["document"]) == ("ask: ", "say: ")
    fine_tune(base, Material(pairs(32)), tmp_path / "plain", TINY)
    assert not same_weights(tmp_path / "out", tmp_path / "plain")


def test_without_a_choice_the_bases_own_prompts_are_trained_with(
    base: Path, tuned: Path, tmp_path: Path
) -> None:
    _tune(base, tmp_path, query_prompt="q: ", document_prompt="")
    assert same_weights(tuned, tmp_path / "out")


def test_scored_texts_are_trained_on_as_queries_and_passages(base: Path, tmp_path: Path) -> None:
    for name, prompt in (("plain", ""), ("prompted", "say: ")):
        settings = replace(TINY, document_prompt=prompt)
        fine_tune(base, Material(_SCORED), tmp_path / name, settings)
    assert not same_weights(tmp_path / "plain", tmp_path / "prompted")


def test_no_prompt_is_none_whatever_the_model_does_by_default(base: Path) -> None:
    model = load_trainable(base)
    plain = encoded(model, ["a text"], "")
    model.default_prompt_name = "query"
    assert np.array_equal(encoded(model, ["a text"], ""), plain)


@pytest.mark.parametrize("said", ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED", "CUDA out of memory"])
def test_a_card_without_memory_is_told_from_bugs(said: str) -> None:
    assert is_out_of_memory(RuntimeError(said))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


def test_a_device_that_is_not_there_is_not_put_on_the_model(base: Path) -> None:
    with pytest.raises(InvalidSetting, match="'cuda:9' cannot be used"):
        load_trainable(base, device="cuda:9")


def test_the_card_that_was_chosen_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it shows without one: the trainer would take the first."""
    chosen: list[object] = []
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    run = Run({}, TINY, (32, 16), Surroundings(), Course("fp32"))
    second = torch.device("cuda:1")
    arguments = run._arguments(first_attempt(TINY, "cpu"), tmp_path, second)
    assert arguments.device == second
    assert chosen[-1] == second
    assert arguments.n_gpu <= 1


def test_a_checkpoint_that_holds_nan_is_not_gone_back_to(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights may break in a step whose loss was still a number."""

    def poison(trainer: Trainer, loss: torch.Tensor) -> torch.Tensor:
        fast = trainer.args.learning_rate > TINY.learning_rate / 2
        if trainer.state.global_step == 9 and fast:
            next(trainer.model.parameters()).data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(Trainer, "compute_loss", _computing(poison))
    course = _tune(base, tmp_path)
    assert course.resumed_at == 0
    assert course.steps == 20
    assert all(np.isfinite(tensor).all() for tensor in weights(tmp_path / "out").values())


def _computing(change: Callable[[Trainer, torch.Tensor], torch.Tensor]) -> Compute:
    """The library's computation of a loss, changed afterwards."""
    compute: Compute = Trainer.compute_loss

    def computed(trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        return change(trainer, compute(trainer, *args, **kwargs))

    return computed
