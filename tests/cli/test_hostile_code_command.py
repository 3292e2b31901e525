"""A table with code that is nested thousands of levels deep: trained on, and answered to, as any other."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import Answer

from counterpoise.cli.exits import EXIT_OK
from counterpoise.cli.predict import predict
from hostile_code import HOSTILE

DEEP = 3000


def test_a_gnn_is_trained_on_it_and_answers_to_it(
    fresh: Path, train: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (fresh / "tiny.csv").open("a", newline="") as file:
        csv.writer(file).writerows((code(DEEP), number % 2) for number, code in enumerate(HOSTILE.values()))
    data = ("data=table", "data.path=tiny.csv", "data.language=cpp", "hydra.run.dir=run", "hardware=cpu")
    model = ("model=gnn", "model.hidden_size=8", "encoding.max_nodes=200", "train.epochs=1", "report.plots=false")
    answer = train(*data, *model, folder=fresh)
    assert answer.code == EXIT_OK, answer.err
    monkeypatch.chdir(fresh)
    for number, code in enumerate(HOSTILE.values()):
        Path(f"{number}.cpp").write_text(code(DEEP))
    files = ",".join(f"{number}.cpp" for number in range(len(HOSTILE)))
    assert predict(["run=run", f"input=[{files}]", "output=answers.jsonl"]) == EXIT_OK
    answers = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert len(answers) == len(HOSTILE)
    assert all(sum(each["probabilities"].values()) == pytest.approx(1, abs=1e-5) for each in answers)
