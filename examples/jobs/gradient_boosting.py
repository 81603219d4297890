"""Gradient boosting with six parameters of three kinds, by the absolute error in cross-validation on diabetes data."""

import sys

import l2l_ref as l2l

TITLE, NEEDS = "gradient boosting, 6 mixed parameters", "sklearn"
SPACE = {
    "learning_rate": l2l.Float(0.005, 0.5, log=True),
    "n_estimators": l2l.Int(10, 100, log=True),
    "max_depth": l2l.Int(1, 6),
    "min_samples_leaf": l2l.Int(1, 50, log=True),
    "subsample": l2l.Float(0.3, 1.0),
    "max_features": l2l.Categorical([None, 0.5, "sqrt"]),
}
EVALUATIONS, WORKERS = 40, 1


def objective(seed):
    """The mean absolute error of three folds, which the seed draws."""
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_score

    X, y = load_diabetes(return_X_y=True)
    folds = KFold(3, shuffle=True, random_state=seed)

    def error(x):
        model = GradientBoostingRegressor(random_state=0, **x)
        return -cross_val_score(model, X, y, cv=folds, scoring="neg_mean_absolute_error").mean()

    return error, error


if __name__ == "__main__":
    from beside_peers import main

    main(sys.modules[__name__])
