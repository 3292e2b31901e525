"""Show what runs came to: ``python src/report.py outputs multirun``. See ``--help``."""

import sys

from counterpoise.cli.report import report

if __name__ == "__main__":
    sys.exit(report(sys.argv[1:]))
