"""A run on pairs of a text and a criterion: its figures by criterion, beside the criterion's own share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import Answer

from counterpoise.cli.exits import EXIT_OK
from counterpoise.data.sources.demo_criteria.criteria import CRITERIA
from counterpoise.jsonio import read_json

PAIRS = ("data=demo_criteria", "data.posts=60", "data.median_words=30", "data.length_spread=0", "model=textcnn")
QUICK = ("train.epochs=1", "guard=off", "encoding.vocab_size=400", "encoding.max_length=64", "hardware.precision=fp32")
QUICK += ("report.plots=false",)


def test_a_result_has_figures_of_each_criterion(workplace: Path, quiet: Callable[..., Answer]) -> None:
    assert quiet(workplace, *PAIRS, *QUICK, "hydra.run.dir=runs/pairs").code == EXIT_OK
    result = read_json(workplace / "runs" / "pairs" / "result.json")
    for split, posts in (("valid", 6), ("test", 12)):
        figures = result[split]["criteria"]
        assert set(figures) == {criterion.sentence for criterion in CRITERIA.values()}
        assert {each["n"] for each in figures.values()} == {posts}
        positives = sum(each["positives"] for each in figures.values())
        assert positives == result[split]["per_class"]["yes"]["support"]
        hits = sum(each["recall"] * each["positives"] for each in figures.values())
        assert hits == pytest.approx(result[split]["recall"] * positives)
    assert list(result["baselines"]) == ["majority", "criterion_prior", "tfidf_logistic"]
