"""A small sweep: which rate, how many epochs, which batch suits these examples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.errors import InvalidSetting, TrainingDiverged
from lockstep.models.loading import usable_device
from lockstep.models.manifest import Json
from lockstep_indexer.train.fine_tune import Surroundings, first_attempt, limit_tokens, prepared
from lockstep_indexer.train.lessons import Material, lessons_of
from lockstep_indexer.train.loading import load_trainable, without_bars
from lockstep_indexer.train.progress import Course
from lockstep_indexer.train.settings import TrainingSettings

_STUDY = "sweep"
_RATES = (1e-5, 2e-4)
_EPOCHS = (1, 2, 3)  # times those of the settings
_BATCHES = (0.5, 1.0, 2.0)  # times that of the settings


def sweep(
    base: Path,
    material: Material,
    folder: Path,
    settings: TrainingSettings,
    around: Surroundings,
    trials: int,
) -> tuple[TrainingSettings, Json]:
    """The best of so many settings by nDCG@10 on the choosing queries, and what each one gave.

    Trials that were finished before an interruption are kept in `folder`; one whose batch does not
    fit in memory, or whose loss is no number, has lost. Raises InvalidSetting where nothing is held
    out to choose by, TrainingDiverged where all trials have lost.
    """
    choosing = around.choosing
    if choosing is None:
        raise InvalidSetting(
            "A sweep needs held-out queries to choose by, and there are none.",
            next_step="Hold out some (--dev-share .1), or leave --sweep out.",
        )
    import optuna

    from lockstep_indexer.train.running import Run
    from lockstep_indexer.train.trainer import QUALITY

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    around = replace(around, device=usable_device(around.device))
    storage = f"sqlite:///{folder / 'sweep.db'}"
    study = _study(storage, settings.seed)
    left = trials - len(_finished(study))
    if left > 0:
        with without_bars():
            student = load_trainable(base, device=around.device)
            limit_tokens(student, settings)
            lessons = lessons_of(material, settings, student)
            del student
            attempt = first_attempt(settings, around.device or "cpu")
            dims = settings.matryoshka_dims or ()
            run = Run(lessons, settings, dims, around, Course(attempt.precision), material.guide)
            searcher = run.searcher(
                lambda: prepared(base, settings, around), attempt, folder / "sweep", choosing
            )
            try:
                searcher.hyperparameter_search(
                    hp_space=lambda trial: _space(trial, settings),
                    compute_objective=lambda metrics: metrics[f"eval_{QUALITY}"],
                    n_trials=left,
                    direction="maximize",
                    backend="optuna",
                    storage=storage,
                    study_name=_STUDY,
                    load_if_exists=True,
                    # Not from the start again: the first draws have been tried.
                    sampler=_sampler(settings.seed + len(study.get_trials())),
                )
            except ValueError:  # the library looks for the best trial, and there may be none
                if _finished(study):
                    raise
        study = _study(storage, settings.seed)
    if not _finished(study):
        raise TrainingDiverged(
            f"None of {trials} trials came to an end: memory ran out, or the loss was no number.",
            next_step="Give a smaller --batch-size, or leave --sweep out.",
        )
    return _chosen(study, settings)


def _study(storage: str, seed: int) -> Any:
    import optuna

    return optuna.create_study(
        storage=storage,
        study_name=_STUDY,
        load_if_exists=True,
        direction="maximize",
        sampler=_sampler(seed),
    )


def _finished(study: Any) -> list[Any]:
    return [trial for trial in study.get_trials() if trial.value is not None]


def _sampler(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def _space(trial: Any, settings: TrainingSettings) -> dict[str, Any]:
    batches = sorted({max(2, round(settings.batch_size * times)) for times in _BATCHES})
    return {
        "learning_rate": trial.suggest_float("learning_rate", *_RATES, log=True),
        "num_train_epochs": trial.suggest_categorical(
            "num_train_epochs", [settings.epochs * times for times in _EPOCHS]
        ),
        "per_device_train_batch_size": trial.suggest_categorical(
            "per_device_train_batch_size", batches
        ),
    }


def _chosen(study: Any, settings: TrainingSettings) -> tuple[TrainingSettings, Json]:
    best = study.best_trial.params
    chosen = replace(
        settings,
        learning_rate=best["learning_rate"],
        epochs=best["num_train_epochs"],
        batch_size=best["per_device_train_batch_size"],
    )
    tried = [{**trial.params, "ndcg@10": trial.value} for trial in _finished(study)]
    return chosen, {"trials": tried}
