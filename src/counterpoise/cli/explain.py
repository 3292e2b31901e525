"""``python src/explain.py run=FOLDER``: what a finished run's answers rest on."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoise.cli.exits import EXIT_OK, attempt
from counterpoise.terminal import say

USAGE = """usage: python src/explain.py run=FOLDER [key=value ...]

Write down what every prediction of a finished run rests on: the chunks that were read, with their weights and what each
added, what each query looks for over the whole split, and whether that is the known evidence. For models over chunks:
iris, hierarchical.

  run=FOLDER              of the finished run
  split=train|valid|test  whose predictions; by default test where there is one, else valid
  chunks=10               most chunks that are listed of a prediction
  examples=2              sure hits, and sure errors, of each class on the page
  out=FOLDER              by default explanations/SPLIT in the run folder
  cache=FOLDER            of encoded data; by default the run's own
  extensions=[my_models]  modules of your own that the run's config may name

It leaves explanations.md, predictions.jsonl, summary.json, attention.png and overview.png."""


def explain(arguments: Sequence[str]) -> int:
    """``python src/explain.py``.

    Returns:
        the exit code, see :mod:`counterpoise.cli.exits`.
    """
    return attempt(lambda: _explain(arguments))


def _explain(arguments: Sequence[str]) -> int:
    if not arguments or {"-h", "--help"} & set(arguments):
        say(*USAGE.splitlines())
        return EXIT_OK
    from pathlib import Path

    from counterpoise.cli.settings import read_settings
    from counterpoise.config import extensions
    from counterpoise.explain.explain import ExplainConfig
    from counterpoise.explain.explain import explain as write_explanation
    from counterpoise.tracking.console import make_console

    extensions.look_in(Path.cwd())
    write_explanation(read_settings(ExplainConfig, arguments), make_console())
    return EXIT_OK
