"""``python src/evaluate.py run=FOLDER``: what a finished run comes to, measured again."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoise.cli.exits import EXIT_OK, attempt
from counterpoise.terminal import say

USAGE = """usage: python src/evaluate.py run=FOLDER [key=value ...]

Measure a finished run again: on a split of its own data, where the figures are those of its result to the bit on the
same machine, or on a labelled table. The run itself stays as it is.

  run=FOLDER               of the finished run
  split=train|valid|test   of its own data; by default test where there is one, else valid
  input=FILE               a labelled table in place of a split: .jsonl, .csv, .tsv (also with .gz) or .parquet
  text_column=NAME         of the table; by default what the run's data call it, like the next two
  label_column=NAME        of the table: names of classes, or their numbers
  criterion_column=NAME    of the table, for a run that judges texts by a criterion
  group_column=NAME        of the table; kept with the predictions
  threshold=0.5|tune       in place of the run's own; tune finds it on the run's validation predictions
  threshold_metric=NAME    what threshold=tune makes largest; by default the run's own, or its objective
  out=FOLDER               for what is written; by default the run folder
  cache=FOLDER             of encoded data; by default the run's own
  extensions=[my_models]   modules of your own that the run's config may name

It leaves evaluation_SPLIT.json and evaluation_SPLIT.parquet, or for a file evaluation_input_FILE.json and .parquet."""


def evaluate(arguments: Sequence[str]) -> int:
    """``python src/evaluate.py``.

    Returns:
        the exit code, see :mod:`counterpoise.cli.exits`.
    """
    return attempt(lambda: _evaluate(arguments))


def _evaluate(arguments: Sequence[str]) -> int:
    if not arguments or {"-h", "--help"} & set(arguments):
        say(*USAGE.splitlines())
        return EXIT_OK
    from pathlib import Path

    from counterpoise.cli.settings import read_settings
    from counterpoise.config import extensions
    from counterpoise.evaluate import EvaluateConfig
    from counterpoise.evaluate import evaluate as measure
    from counterpoise.tracking.console import make_console

    extensions.look_in(Path.cwd())
    measure(read_settings(EvaluateConfig, arguments), make_console())
    return EXIT_OK
