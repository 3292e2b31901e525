"""Train, sweep and compare classifiers on imbalanced text, source code and graphs."""

__version__ = "0.1.0"
