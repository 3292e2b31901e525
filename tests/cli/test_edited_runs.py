"""Runs with a file that was edited, and its checksum made again: used, or refused in one message.

Every test takes an equal share of all edits of a file: one value in the place of another, see ``edits``.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from counterpoise.answers import of_records, of_split
from counterpoise.branches import VOCABULARIES
from counterpoise.cli.train import _code, _for_sweeper
from counterpoise.data.cache import file_checksum, read_manifest
from counterpoise.data.records import Records
from counterpoise.errors import UserError
from counterpoise.finished import FinishedRun
from counterpoise.job import build_loss
from counterpoise.jsonio import read_json, read_sealed, write_json, write_sealed
from counterpoise.lr_search import taken_up
from counterpoise.opening import open_model, open_run, saved_probabilities
from counterpoise.reports.compare import make_report
from counterpoise.result import earlier_result, show_result
from counterpoise.tracking.folder import RunFolder
from edits import edits, write_edited
from mutations import copied

EDITS = 30
"""Of a file in one test; a number above all of them, as 10_000, takes a quarter of an hour."""
CONSOLE = Console(file=io.StringIO())


def predict(run: Path) -> None:
    opened, learnt = open_model(run)
    columns: dict[str, Any] = {"row": [0, 1], "text": ["int f(int a) { return guarded(a); }", ""], "label": [0, 0]}
    if opened.properties.get("criteria"):
        columns["criterion"] = ["sleep", "x"]
    of_records(opened, learnt, Records.from_columns(columns, opened.classes), CONSOLE).decided(opened.decision)


def evaluate(run: Path) -> None:
    opened = open_run(run)
    saved_probabilities(opened, "test")
    of_split(opened, "test", build_loss(opened.experiment, opened.dataset), None, CONSOLE)


def repeat(run: Path) -> None:
    """What the same command does with a finished run."""
    settings = read_json(run.parent / "settings.json")
    result = earlier_result(run / "result.json", settings)
    if result is not None:
        show_result(CONSOLE, result, run)
        _code(result)
        _for_sweeper(result)


def resume(run: Path) -> None:
    """What a resumed run reads before it trains."""
    folder = RunFolder(run)
    facts = {"plan": {"lr": 1}, "classes": ["a", "b"], "branches": {"x": {}}, "machine": {"threads": 3}}
    folder.check({"seed": 1}, facts)
    taken_up(folder)


def report(run: Path) -> None:
    make_report([run], title="x")


def best(run: Path) -> None:
    opened = FinishedRun.open("run", run)
    opened.decision(opened.best())


USES: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (predict, evaluate, repeat, resume, report, best)
}
CASES = [
    *[("tokens", "result.json", use) for use in ("predict", "evaluate", "repeat", "report")],
    *[("tokens", "training_metadata.json", use) for use in ("predict", "evaluate", "resume", "report")],
    ("fusion", "training_metadata.json", "predict"),
    ("fusion", "result.json", "repeat"),
    *[("tokens", f"checkpoints/best/{name}.json", "best") for name in ("manifest", "decision")],
    *[("tokens", name, "predict") for name in VOCABULARIES["tokens"]],
    *[("graphs", name, "predict") for name in VOCABULARIES["graphs"]],
    *[("chunks", name, "predict") for name in ("encoding.json", "tokenizer.json")],
    *[("lsa", name, "predict") for name in ("encoding.json", "encoder.json", "encoder_terms.json")],
]


@pytest.fixture(autouse=True)
def _silent() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def reseal(run: Path, path: Path) -> None:
    """Make the checksum right that another file keeps of this one."""
    metadata = read_json(run / "training_metadata.json")
    if path.name in metadata.get("artefacts", {}):
        metadata["artefacts"][path.name] = file_checksum(path)
        write_json(run / "training_metadata.json", metadata)


@pytest.mark.parametrize(("kind", "name", "use"), CASES)
def test_an_edited_file_is_used_or_refused(
    kind: str,
    name: str,
    use: str,
    finished: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    source = finished(kind)
    monkeypatch.chdir(source.parent)
    run = copied(source, tmp_path / "run")
    content = read_json(run / name)
    write_json(tmp_path / "settings.json", read_json(source / "result.json")["settings"])
    refused = used = 0
    for label, edited in edits(content, EDITS):
        write_edited(run / name, edited)
        reseal(run, run / name)
        try:
            USES[use](run)
            used += 1
        except UserError as error:
            refused += len(error.problems) > 0
        except Exception as error:
            raise AssertionError(f"{kind} {name}, {use}: {label}") from error
    record_property("outcomes", json.dumps({"used": used, "refused": refused}))
    assert used + refused >= min(10, EDITS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(found_to_fit=True), "found_to_fit: expected an object or null, got true"),
        (
            lambda r: r.update(found_to_fit={"evaluation_batch": -1}),
            "found_to_fit.evaluation_batch: expected an integer >= 1",
        ),
        (lambda r: r.update(found_to_fit={"evaluation_batch": 0.5}), "expected an integer"),
        (lambda r: r.update(rescues="x"), "rescues: expected a list or null, got 'x'"),
        (lambda r: r.update(rescues=["x"]), "rescues[0]: expected an object, got 'x'"),
        (lambda r: r.update(best_epoch="1"), "best_epoch: expected an integer"),
        (lambda r: r.update(status=[]), "status: expected one of 'finished', 'collapsed', got []"),
    ],
)
def test_wrong_types_in_a_sealed_result_are_named(
    change: Callable[[dict[str, Any]], None], message: str, finished: Callable[[str], Path], tmp_path: Path
) -> None:
    run = copied(finished("tokens"), tmp_path / "run")
    result = read_sealed(run / "result.json")
    change(result)
    write_sealed(run / "result.json", result)
    with pytest.raises(UserError, match=r"run: .*cannot be read: result\.json: ") as caught:
        FinishedRun.open("run", run)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(classes=["a"]), "classes: expected the names of 2 classes or more, each once"),
        (lambda m: m.update(classes=["a", "a"]), "classes: expected the names of 2 classes or more, each once"),
        (lambda m: m.update(classes=["a", 3]), "classes[1]: expected a string, got 3"),
        (lambda m: m.update(artefacts={"../../etc/passwd": "x"}), "artefacts: expected names of files"),
        (lambda m: m.update(artefacts={"x" * 300: "x"}), "artefacts: expected names of files"),
        (lambda m: m["plan"].update(batch_tokens="x"), "plan.batch_tokens: expected an integer"),
        (lambda m: m["plan"].update(evaluation_batch=0), "plan.evaluation_batch: must be >= 1"),
        (lambda m: m.update(config=[]), "config: expected an object, got []"),
    ],
)
def test_wrong_values_in_the_metadata_are_named(
    change: Callable[[dict[str, Any]], None], message: str, finished: Callable[[str], Path], tmp_path: Path
) -> None:
    run = copied(finished("tokens"), tmp_path / "run")
    metadata = read_json(run / "training_metadata.json")
    change(metadata)
    write_json(run / "training_metadata.json", metadata)
    with pytest.raises(UserError, match=r"cannot be read: training_metadata\.json: ") as caught:
        FinishedRun.open("run", run)
    assert message in str(caught.value)
    with pytest.raises(UserError, match=r"training_metadata\.json: cannot be read"):
        RunFolder(run).check({}, {})


def test_a_config_of_a_larger_model_than_its_weights_is_not_built(
    finished: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished("tokens").parent)
    run = copied(finished("tokens"), tmp_path / "run")
    metadata = read_json(run / "training_metadata.json")
    metadata["config"]["model"]["embedding_size"] = 2**31 - 1  # of 300 tokens: terabytes
    write_json(run / "training_metadata.json", metadata)
    with pytest.raises(UserError, match=r"holds a model of [\d,]+ parameters, but weights of [\d,]+ bytes"):
        open_model(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": {"epoch": "2"}}, r"manifest\.json: position\.epoch: expected an integer, got '2'"),
        ({"position": {"epoch": -1}}, r"manifest\.json: position\.epoch: must be >= 0"),
        ({"position": {}}, r"not of its best epoch"),
        ({"position": 3}, r"manifest\.json: position: expected an object, got 3"),
        ({"identity": []}, r"manifest\.json: identity: expected an object, got \[\]"),
        ({"healthy": "x"}, r"manifest\.json: healthy: expected true or false"),
        ({"format": [3]}, r"has format \[3\], but this version reads"),
    ],
)
def test_a_sealed_manifest_with_other_values_is_damage(
    change: dict[str, Any], message: str, finished: Callable[[str], Path], tmp_path: Path
) -> None:
    run = copied(finished("tokens"), tmp_path / "run")
    folder = run / "checkpoints" / "best"
    write_sealed(folder / "manifest.json", {**read_manifest(folder), **change})
    with pytest.raises(UserError, match=message):
        FinishedRun.open("run", run).best()
