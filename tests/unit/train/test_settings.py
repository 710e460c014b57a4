import pytest

from lockstep.errors import InvalidInput, InvalidSetting
from lockstep_indexer.train.columns import loss_for
from lockstep_indexer.train.data.examples import Kind
from lockstep_indexer.train.settings import Loss, TrainingSettings, dims_for


@pytest.mark.parametrize(
    ("dim", "chosen", "expected"),
    [
        (384, None, (384, 256, 128, 64)),
        (1024, None, (1024, 512, 256, 128, 64)),
        (100, None, (100, 64)),
        (64, None, (64,)),
        (32, None, (32,)),
        (384, (64,), (384, 64)),
        (384, (), (384,)),
    ],
)
def test_dimensions_halve_down_to_64(
    dim: int, chosen: tuple[int, ...] | None, expected: tuple[int, ...]
) -> None:
    assert dims_for(dim, chosen) == expected


def test_dimensions_beyond_the_models_own_are_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"512 is no Matryoshka dimension .* have 384"):
        dims_for(384, (512, 64))


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"learning_rate": float("nan")},
        {"blend": 0},
        {"mix_in_share": 0.6, "keep_share": 0.4},
    ],
)
def test_a_setting_that_cannot_work_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(wrong))):
        TrainingSettings(**wrong)  # type: ignore[arg-type]


def test_each_kind_has_its_loss() -> None:
    assert loss_for(Kind.SCORED, None) is Loss.COSENT
    assert loss_for(Kind.HARD_NEGATIVES, None) is Loss.RANKING
    with pytest.raises(
        InvalidInput, match="'cosent' does not learn from pairs data; expected rank"
    ):
        loss_for(Kind.PAIRS, Loss.COSENT)
