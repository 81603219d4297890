"""Hyperparameters of a classifier by a learned optimizer, in the form of scikit-learn's searches."""

from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import l2l_ref as l2l
from l2l_ref.integrations.sklearn import LearnedSearchCV

X, y = load_breast_cancer(return_X_y=True)
space = {"svc__C": l2l.Float(1e-3, 1e3, log=True), "svc__gamma": l2l.Float(1e-5, 1e1, log=True)}
search = LearnedSearchCV(make_pipeline(StandardScaler(), SVC()), space, n_iter=25, cv=3, random_state=0)
search.fit(X[::2], y[::2])
print(f"accuracy {search.best_score_:.3f} in cross-validation with {search.best_params_}, "
      f"{search.score(X[1::2], y[1::2]):.3f} on the other half")

assert search.best_score_ > 0.95
