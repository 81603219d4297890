"""The learned black-box optimizer in the form of other libraries: Optuna, scikit-learn and SciPy.

Each file is imported by its name, when it is needed, because it imports the library that it is for:
``from l2l_ref.integrations.optuna import LearnedSampler``.
"""
