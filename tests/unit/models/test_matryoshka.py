"""Where Matryoshka dimensions are read from."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import InvalidSetting, ModelRejected
from lockstep.models.matryoshka import checked_dims, matryoshka_dims
from lockstep.testing import tiny_model


def test_a_folder_that_says_nothing_has_none(model: Path) -> None:
    assert matryoshka_dims(model, 32) == ()


def test_from_the_settings_of_sentence_transformers(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "trained", matryoshka_dims=[32, 8, 16])
    assert matryoshka_dims(folder, 32) == (8, 16, 32)


def test_from_the_config_of_the_architecture(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"matryoshka_dimensions": [32, 64, 1024]}))
    assert matryoshka_dims(tmp_path, 1024) == (32, 64, 1024)


@pytest.mark.parametrize("dims", [[64], [0], ["8"], [True], 8, "8"])
def test_impossible_dims_in_a_config_reject_the_model(tmp_path: Path, dims: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"matryoshka_dimensions": dims}))
    with pytest.raises(ModelRejected, match=r"config\.json of the model says"):
        matryoshka_dims(tmp_path, 32)


def test_from_a_card_that_the_trainer_wrote(model: Path, tmp_path: Path) -> None:
    saved = _train_and_save(model, tmp_path, dims=[32, 16, 8])
    assert "matryoshka_dims" not in (saved / "config_sentence_transformers.json").read_text()
    assert matryoshka_dims(saved, 32) == (8, 16, 32)


def _train_and_save(model: Path, tmp_path: Path, dims: list[int] | None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        from datasets import Dataset
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer.losses import (
            MatryoshkaLoss,
            MultipleNegativesRankingLoss,
        )

        trained = SentenceTransformer(str(model), device="cpu", local_files_only=True)
        inner = MultipleNegativesRankingLoss(trained)
        SentenceTransformerTrainer(
            model=trained,
            args=SentenceTransformerTrainingArguments(
                output_dir=str(tmp_path / "out"),
                max_steps=1,
                per_device_train_batch_size=4,
                report_to=[],
                disable_tqdm=True,
                use_cpu=True,
            ),
            train_dataset=Dataset.from_dict({"anchor": ["a b"] * 4, "positive": ["a c"] * 4}),
            loss=MatryoshkaLoss(trained, inner, dims) if dims else inner,
        ).train()
        trained.save_pretrained(str(tmp_path / "saved"))
    return tmp_path / "saved"


_CARD = """---
tags:
- sentence-transformers
- loss:{loss}
---
# A model
{body}
"""


@pytest.mark.parametrize(
    ("loss", "body", "expected"),
    [
        ("MatryoshkaLoss", '"matryoshka_dims": [\n 32,\n 8\n]', (8, 32)),
        ("MatryoshkaLoss", "'matryoshka_dims': (16, 8)", (8, 16)),
        ("MatryoshkaLoss", "MatryoshkaLoss(loss='x', matryoshka_dims=[16])", (16,)),
        ("MatryoshkaLoss", "no settings", ()),
        ("MatryoshkaLoss", '"matryoshka_dims": [768, 64]', ()),  # another model's card
        ("CosineSimilarityLoss", '"matryoshka_dims": [16, 8]', ()),
        ("MatryoshkaLoss", '"matryoshka_dims": [16, 8] "matryoshka_dims": [8, 4]', (8,)),
    ],
)
def test_from_a_card(tmp_path: Path, loss: str, body: str, expected: tuple[int, ...]) -> None:
    (tmp_path / "README.md").write_text(_CARD.format(loss=loss, body=body))
    assert matryoshka_dims(tmp_path, 32) == expected


def test_a_tag_in_the_text_of_a_card_is_not_its_tag(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text('- loss:MatryoshkaLoss\n"matryoshka_dims": [8]')
    assert matryoshka_dims(tmp_path, 32) == ()


def test_chosen_dims_are_sorted_and_checked() -> None:
    assert checked_dims([16, 8, 16], 16) == (8, 16)
    assert checked_dims([], 16) == ()
    with pytest.raises(InvalidSetting, match="17 is no Matryoshka dimension"):
        checked_dims([17], 16)
