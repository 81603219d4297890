"""A support vector machine: C and gamma, by the error in cross-validation on handwritten digits."""

import sys

import l2l_ref as l2l

TITLE, NEEDS = "SVM, 2 parameters", "sklearn"
SPACE = {"C": l2l.Float(1e-3, 1e4, log=True), "gamma": l2l.Float(1e-6, 1e1, log=True)}
EVALUATIONS, WORKERS = 30, 1


def objective(seed):
    """The error of three folds, which the seed draws, in %."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    digits = l2l.datasets.load("digits", "train")
    X, y = digits.images[:600], digits.labels[:600]
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)

    def error(x):
        return 100 * (1 - cross_val_score(SVC(**x), X, y, cv=folds).mean())

    return error, error


if __name__ == "__main__":
    from beside_peers import main

    main(sys.modules[__name__])
