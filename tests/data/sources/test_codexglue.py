"""CodeXGLUE defect detection from a folder and from a hub that is played by a small module here."""

import gzip
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from counterpoise.config.schema import parse
from counterpoise.data.leakage import find_leakage
from counterpoise.data.sources.codexglue import CodeXGlue, CodeXGlueConfig
from counterpoise.errors import UserError

DEVIGN = Path(__file__).parents[4] / "shared" / "data" / "devign"


def load(**settings):
    return CodeXGlue(parse(CodeXGlueConfig, settings, "data")).load()


def problems(**settings):
    with pytest.raises(UserError) as caught:
        load(**settings)
    return {problem.where: str(problem) for problem in caught.value.problems}


def functions(*targets):
    return [
        {"idx": n, "project": "p", "func": f"int f{n}() {{}}", "target": target} for n, target in enumerate(targets)
    ]


def write(path, rows):
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_a_folder_gives_its_splits_and_running_rows(tmp_path):
    write(tmp_path / "train.jsonl", functions(0, "1", True))
    write(tmp_path / "valid.jsonl.gz", functions(False, "1.0"))
    dataset = load(path=str(tmp_path))
    assert dataset.classes == ("safe", "vulnerable")
    assert dataset.train.labels.tolist() == [0, 1, 1]
    assert dataset.valid.labels.tolist() == [0, 1]
    assert dataset.valid.rows.tolist() == [3, 4]
    assert dataset.test is None
    # the project tells the label, so it must not get any further
    assert dataset.train.table.column_names == ["row", "text", "label"]


def test_problems_of_all_files_have_their_line(tmp_path):
    write(tmp_path / "train.jsonl", functions(0, 2, "yes", None, 1, -1))
    write(tmp_path / "valid.jsonl", functions(0, 1, float("nan")))
    found = problems(path=str(tmp_path))
    assert list(found) == [f"{tmp_path}/train.jsonl:{n}" for n in (2, 3, 4, 6)] + [f"{tmp_path}/valid.jsonl:3"]
    assert "'target' is 'yes'; expected 0 or 1" in found[f"{tmp_path}/train.jsonl:3"]


def test_a_missing_split_or_folder_is_named(tmp_path):
    write(tmp_path / "train.jsonl", functions(0, 1))
    assert (
        "there is no valid split: expected a file valid.jsonl or .jsonl.gz" in problems(path=str(tmp_path))["data.path"]
    )
    assert "is a file; expected a folder" in problems(path=str(tmp_path / "train.jsonl"))["data.path"]
    assert "there is no folder" in problems(path=str(tmp_path / "nowhere"))["data.path"]


def test_one_of_path_and_hub_must_be_given():
    assert "Add data.path=FOLDER" in problems(hub=None)["data.path"]


def test_without_the_package_the_error_names_extra_and_alternative(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = problems()["data.hub"]
    assert ".[hub]" in message
    assert "data.path" in message


class Part:
    def __init__(self, rows):
        self.rows, self.column_names = rows, list(rows[0])

    def __getitem__(self, name):
        return [row[name] for row in self.rows]


def hub(monkeypatch, answer):
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=answer))


def test_the_hub_gives_booleans_and_names_valid_validation(monkeypatch):
    parts = {"train": functions(True, False), "validation": functions(True, False), "test": functions(False)}
    hub(monkeypatch, lambda name: {split: Part(rows) for split, rows in parts.items()})
    dataset = load()
    assert {name: part.labels.tolist() for name, part in dataset.splits().items()} == {
        "train": [1, 0],
        "valid": [1, 0],
        "test": [0],
    }
    parts["train"][1]["func"] = None
    assert "'func' is null" in problems(hub="a/b")["a/b/train:row 2"]
    del parts["validation"]
    assert "has no valid split" in problems()["data.hub"]


def test_the_hubs_clients_are_left_as_they_were(monkeypatch):
    seen = []

    def answer(name):
        seen.append((constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE))
        raise ConnectionError("no route")

    config = SimpleNamespace(HF_HUB_OFFLINE=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setitem(sys.modules, "datasets.config", config)
    for offline in (True, False):
        monkeypatch.setattr("counterpoise.hub.only_local", lambda offline=offline: offline)
        hub(monkeypatch, answer)
        problems()
        assert (constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE) == (False, False)
    assert seen == [(True, True), (False, False)]


def test_a_hub_out_of_reach_is_one_clear_error(monkeypatch):
    def refuse(name):
        raise ConnectionError("no route")

    hub(monkeypatch, refuse)
    (message,) = problems().values()
    assert "ConnectionError: no route" in message
    assert "set data.path" in message


@pytest.mark.skipif(not DEVIGN.is_dir(), reason="the shared data are not here")
def test_devign_loads_quickly_and_has_the_known_doubles():
    start = time.perf_counter()
    dataset = load(path=str(DEVIGN))
    seconds = time.perf_counter() - start
    assert (len(dataset.train), len(dataset.valid)) == (21845, 2730)
    assert dataset.train.class_counts()[1] / 21845 == pytest.approx(0.456, abs=0.001)
    assert seconds < 6  # about 0.8 s; generous for a machine that does other things at the same time
    found = find_leakage(dataset)
    assert found.shared == {"train/valid": {"texts": 7, "train": 7, "valid": 7}}
    assert found.contradicting["all"] == {"texts": 65, "records": 130}
