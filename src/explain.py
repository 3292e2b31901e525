"""Explain what a finished run's answers rest on: ``python src/explain.py run=outputs/...``. See ``--help``."""

import sys

from counterpoise.cli.explain import explain

if __name__ == "__main__":
    sys.exit(explain(sys.argv[1:]))
