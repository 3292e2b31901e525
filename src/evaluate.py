"""Measure a finished run again: ``python src/evaluate.py run=outputs/...``. See ``--help``."""

import sys

from counterpoise.cli.evaluate import evaluate

if __name__ == "__main__":
    sys.exit(evaluate(sys.argv[1:]))
