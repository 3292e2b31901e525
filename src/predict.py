"""Use a finished run: ``python src/predict.py run=outputs/... input=file.c``. See ``--help``."""

import sys

from counterpoise.cli.predict import predict

if __name__ == "__main__":
    sys.exit(predict(sys.argv[1:]))
