"""Train a classifier: ``python src/train.py model=textcnn seed=7``. See ``--help``."""

import sys
from pathlib import Path

from counterpoise.cli.train import train

if __name__ == "__main__":
    sys.exit(train(Path(__file__).resolve().parents[1] / "conf"))
