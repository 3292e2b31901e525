"""``python src/predict.py run=FOLDER input=FILE``: what a finished run says of new texts."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoise.cli.exits import EXIT_OK, attempt
from counterpoise.terminal import say

USAGE = """usage: python src/predict.py run=FOLDER input=FILE [key=value ...]

Let a finished run answer to new texts: the predicted class, and the probability of each, by the threshold and the
temperature that it was left with. Its training data are not needed.

  run=FOLDER               of the finished run
  input=FILE               a table (.jsonl, .csv, .tsv, also with .gz, or .parquet), any other file as one text, or -
                           for one on the standard input; several as [a.c,b.c]
  output=FILE              outside the run folder, for the answers; - for the standard output; by default only shown
  format=jsonl|csv|parquet of the output; by default by its name
  text_column=NAME         of tables; by default what the run's data call it, like the next
  criterion_column=NAME    of tables, for a run that judges texts by a criterion
  criterion=TEXT           for what is one text, and for tables without such a column
  id_column=NAME           of tables: names of the records, kept with the answers
  threshold=0.5            in place of the run's own
  extensions=[my_models]   modules of your own that the run's config may name"""


def predict(arguments: Sequence[str]) -> int:
    """``python src/predict.py``.

    Returns:
        the exit code, see :mod:`counterpoise.cli.exits`.
    """
    return attempt(lambda: _predict(arguments))


def _predict(arguments: Sequence[str]) -> int:
    if not arguments or {"-h", "--help"} & set(arguments):
        say(*USAGE.splitlines())
        return EXIT_OK
    from pathlib import Path

    from counterpoise.cli.settings import read_settings
    from counterpoise.config import extensions
    from counterpoise.predict import TO_STANDARD_OUTPUT, PredictConfig
    from counterpoise.predict import predict as answer
    from counterpoise.tracking.console import make_console

    extensions.look_in(Path.cwd())
    config = read_settings(PredictConfig, arguments)
    answer(config, make_console(stderr=config.output in TO_STANDARD_OUTPUT))
    return EXIT_OK
