"""A learned optimizer as the sampler of an Optuna study, with a conditional parameter and a trial that fails."""

import math

import optuna

from l2l_ref.integrations.optuna import LearnedSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial):
    rate = trial.suggest_float("rate", 1e-5, 1.0, log=True)
    layers = trial.suggest_int("layers", 1, 6)
    kind = trial.suggest_categorical("kind", ["sgd", "adam"])
    loss = (math.log10(rate) + 2.5) ** 2 + 0.2 * abs(layers - 3)
    if kind == "sgd":  # only then is there a momentum: Optuna's TPE proposes it
        return loss + (trial.suggest_float("momentum", 0.0, 1.0) - 0.9) ** 2
    return math.nan if rate > 0.3 else loss + 0.1


study = optuna.create_study(sampler=LearnedSampler(seed=0))
study.optimize(objective, n_trials=40)
print(f"best of {len(study.trials)} trials: {study.best_value:.4f} at {study.best_params}")

assert len(study.trials) == 40 and study.best_value < 0.3
