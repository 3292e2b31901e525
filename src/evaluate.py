"""Measure a finished run again, on its own splits or on a labelled table: ``python src/evaluate.py run=outputs/...``."""

import sys

from counterpoise.cli.evaluate import evaluate

if __name__ == "__main__":
    sys.exit(evaluate(sys.argv[1:]))
