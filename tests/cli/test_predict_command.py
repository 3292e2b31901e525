"""``python src/predict.py`` on real runs of every encoding: the same answers as in the run, and clear refusals."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_command import ROOT, SMALL, call
from finished_runs import RUNS, saved, write_test_split

from counterpoise.cli.exits import EXIT_OK, EXIT_UNREAD, EXIT_USER
from counterpoise.cli.predict import USAGE, predict
from counterpoise.cli.settings import read_settings
from counterpoise.config.schema import field_types
from counterpoise.errors import UserError
from counterpoise.evaluate import EvaluateConfig
from counterpoise.jsonio import read_json, read_sealed, write_json, write_sealed
from counterpoise.predict import PredictConfig, _headings

Runs = Callable[[str], Path]
CODE = "int f(int a) { return unchecked(a, 1); }"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without the runs' data."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", RUNS)
def test_the_test_split_is_answered_as_the_run_did(kind: str, finished: Runs, here: Path) -> None:
    run = finished(kind)
    write_test_split(run, here / "new.jsonl")
    assert predict([f"run={run}", "input=new.jsonl", "output=answers.jsonl"]) == EXIT_OK
    probabilities, predicted = saved(run)
    found = lines(here / "answers.jsonl")
    classes = list(found[0]["probabilities"])
    assert classes == read_json(run / "training_metadata.json")["classes"]
    own = np.array([list(each["probabilities"].values()) for each in found])
    np.testing.assert_array_equal(own, probabilities)
    assert [classes.index(each["predicted"]) for each in found] == predicted.tolist()
    assert [each["row"] for each in found] == list(range(len(predicted)))
    assert all(("criterion" in each) == (kind in ("hashing", "lsa", "minilm")) for each in found)


# Alone in a batch nothing is padded: sums are taken in another order, no more.
@pytest.mark.parametrize("kind", ["tokens", "graphs", "chunks", "lsa"])
def test_a_text_alone_is_answered_as_among_others(kind: str, finished: Runs, here: Path) -> None:
    run = finished(kind)
    record = lines(write_test_split(run, here / "new.jsonl"))[3]
    (here / "one.c").write_text(record["text"])
    beside = [f"criterion={record['criterion']}"] if "criterion" in record else []
    assert predict([f"run={run}", "input=one.c", "output=one.jsonl", *beside]) == EXIT_OK
    (answer,) = lines(here / "one.jsonl")
    tolerance = 1e-6 if kind != "chunks" else 1e-2  # trained in bf16 where the processor has it
    assert list(answer["probabilities"].values()) == pytest.approx(saved(run)[0][3].tolist(), abs=tolerance)


def test_files_tables_and_standard_input_together(
    finished: Runs, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished("tokens")
    (here / "a.c").write_text(CODE)
    capsys.readouterr()  # of the training
    (here / "b.csv").write_text(f'text,name\n"{CODE}",x\n"{CODE.replace("unchecked", "guarded")}",y\n')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CODE.encode())))
    assert predict([f"run={run}", "input=[a.c,b.csv,-]", "output=-"]) == EXIT_OK
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["input"], each["row"]) for each in found] == [("a.c", 0), ("b.csv", 0), ("b.csv", 1), ("-", 0)]
    assert found[0]["probabilities"] == pytest.approx(found[3]["probabilities"], abs=1e-12)
    assert predict([f"run={run}", "input=b.csv", "id_column=name"]) == EXIT_OK
    shown = capsys.readouterr().out
    assert "│ x " in shown
    assert "│ y " in shown
    assert sorted(path.name for path in here.iterdir()) == ["a.c", "b.csv"], "nothing is written without output"


def test_every_format_holds_the_same(finished: Runs, here: Path) -> None:
    run = finished("three")
    write_test_split(run, here / "new.jsonl")
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert predict([f"run={run}", "input=new.jsonl", f"output={name}"]) == EXIT_OK
    assert predict([f"run={run}", "input=new.jsonl", "output=b.txt", "format=csv"]) == EXIT_OK
    assert (here / "b.txt").read_bytes() == (here / "a.csv").read_bytes()
    flat = [
        {**{k: v for k, v in each.items() if k != "probabilities"}}
        | {f"probability_{name}": value for name, value in each["probabilities"].items()}
        for each in lines(here / "a.jsonl")
    ]
    assert pq.read_table(here / "a.parquet").to_pylist() == flat
    with (here / "a.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{name: str(value) for name, value in each.items()} for each in flat]


def test_another_threshold_predicts_otherwise(finished: Runs, here: Path) -> None:
    run = finished("tokens")
    write_test_split(run, here / "new.jsonl")
    assert predict([f"run={run}", "input=new.jsonl", "output=a.jsonl", "threshold=0.999"]) == EXIT_OK
    assert {each["predicted"] for each in lines(here / "a.jsonl")} == {"0"}
    assert np.array([[*each["probabilities"].values()] for each in lines(here / "a.jsonl")]).tolist() == (
        saved(run)[0].tolist()
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert predict(list(arguments)) == EXIT_USER
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_inputs_that_cannot_be_read_are_told_all_at_once(
    finished: Runs, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = f"run={finished('tokens')}"
    (here / "empty.c").touch()
    (here / "latin.c").write_bytes(b"int \xe4;")
    (here / "null.c").write_bytes(b"int a\0;")
    (here / "wrong.csv").write_text("body\nx\n")
    (here / "none.jsonl").touch()
    (here / "bad.jsonl").write_text('{"text": 3}\n{"text": ""}\n')
    names = "[empty.c,latin.c,null.c,wrong.csv,none.jsonl,bad.jsonl,gone.c,.]"
    said = refused(capsys, run, f"input={names}", "output=a.jsonl")
    assert "empty.c: 'the text' is empty" in said
    assert "latin.c: is not UTF-8" in said
    assert "null.c: 'the text' has a NUL byte" in said
    assert "wrong.csv: has no column 'text'. Columns found: 'body'. Set text_column" in said
    assert "none.jsonl: is empty" in said
    assert "bad.jsonl:1" in said
    assert "bad.jsonl:2" in said
    assert "input: there is no file 'gone.c'" in said
    assert "input: '.' is a folder" in said
    assert not (here / "a.jsonl").exists()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"  \n")))
    assert "standard input: 'the text' is blank" in refused(capsys, run, "input=-")


def test_settings_that_cannot_be_meant_are_refused(
    finished: Runs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"run={finished('tokens')}"
    (here / "a.c").write_text(CODE)
    said = refused(capsys, "inptu=a.c", "threshold=2")
    assert "run: missing" in said
    assert "Did you mean 'input'" in said
    assert "threshold: must be > 0 and < 1" in said
    assert "format: has no effect without output" in refused(capsys, run, "input=a.c", "format=csv")
    assert "criterion: has no effect" in refused(capsys, run, "input=a.c", "criterion=x")
    assert "criterion_column: has no effect" in refused(capsys, run, "input=a.c", "criterion_column=x")
    assert "input: is an empty list" in refused(capsys, run, "input=[]")
    assert "a.c: is one text, which has no id" in refused(capsys, run, "input=a.c", "id_column=x")
    pairs = f"run={finished('hashing')}"
    assert "which has no criterion. Put it into a table, or add criterion=..." in refused(capsys, pairs, "input=a.c")
    three = f"run={finished('three')}"
    assert "threshold: is 0.3, but there are 3 classes" in refused(capsys, three, "input=a.c", "threshold=0.3")
    (here / "folder").mkdir()
    assert predict([run, "input=a.c", "output=folder"]) == EXIT_USER


def test_what_is_needed_still_is_not_written_over(
    finished: Runs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(finished("tokens"), here / "run")
    (here / "a.c").write_text(CODE)
    (here / "link.c").symlink_to("a.c")
    (here / "link").symlink_to("run")
    os.link(here / "a.c", here / "hard.c")
    for name in ("a.c", "./a.c", "link.c", "hard.c"):
        assert "is the input 'a.c'" in refused(capsys, "run=run", "input=[a.c]", f"output={name}")
    for name in ("run/result.json", "run/new.csv", "link/plots/x.csv"):
        assert "lies in the run folder" in refused(capsys, f"run={run}", "input=a.c", f"output={name}")
    assert (here / "a.c").read_text() == CODE


def test_devices_and_pipes_take_the_answers_as_they_are(finished: Runs, here: Path) -> None:
    run = finished("tokens")
    (here / "a.c").write_text(CODE)
    assert predict([f"run={run}", "input=a.c", "output=/dev/null"]) == EXIT_OK
    assert Path("/dev/null").is_char_device()
    os.mkfifo(here / "pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader:
        assert predict([f"run={run}", "input=a.c", "output=pipe"]) == EXIT_OK
        assert reader.stdout is not None
        assert json.loads(reader.stdout.read())["input"] == "a.c"
    (here / "target.jsonl").write_text("old")
    (here / "link.jsonl").symlink_to("target.jsonl")
    assert predict([f"run={run}", "input=a.c", "output=link.jsonl"]) == EXIT_OK
    assert (here / "link.jsonl").is_symlink()
    assert lines(here / "target.jsonl")[0]["input"] == "a.c"


@pytest.mark.parametrize("output", [["output=-"], []])
def test_nobody_need_read_the_answers_to_their_end(output: list[str], finished: Runs, here: Path) -> None:
    (here / "new.jsonl").write_text(json.dumps({"text": CODE}) + "\n")
    command = [
        sys.executable,
        str(ROOT / "src" / "predict.py"),
        f"run={finished('tokens')}",
        "input=new.jsonl",
        *output,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()
        said = done.stderr.read().decode()
    assert done.returncode == EXIT_UNREAD
    assert "Error" not in said
    assert "Exception" not in said


def test_names_that_are_not_utf8_and_cells_that_would_be_formulas(finished: Runs, here: Path) -> None:
    run = f"run={finished('tokens')}"
    name = os.fsdecode(b"\xe4.c")
    (here / name).write_text(CODE)
    for kind in ("csv", "parquet", "jsonl"):
        assert predict([run, f"input={name}", f"output=a.{kind}"]) == EXIT_OK
    assert pq.read_table(here / "a.parquet")["input"].to_pylist() == ["\\udce4.c"]
    (here / "new.csv").write_text("text,name\nint a;,=1+1\nint b;,@x\nint c;,+1\nint d;,-1\nint e;,e\n")
    assert predict([run, "input=new.csv", "id_column=name", "output=b.csv"]) == EXIT_OK
    with (here / "b.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["'=1+1", "'@x", "'+1", "'-1", "e"]


def test_damaged_and_long_texts_are_told(finished: Runs, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = gzip.compress(os.urandom(2000).hex().encode())
    (here / "cut.c.gz").write_bytes(packed[:-900])
    (here / "bent.c.gz").write_bytes(packed[:60] + bytes(200) + packed[260:])
    run = changed(
        finished("tokens"),
        here / "run",
        lambda run: edit(run, lambda m: m["config"]["data"].update(max_record_bytes=9)),
    )
    (here / "long.c").write_text("\u00e4" * 10)
    (here / "long.csv").write_text("text\nint a; int b;\n")
    said = refused(capsys, f"run={finished('tokens')}", "input=[cut.c.gz,bent.c.gz]")
    assert said.count("the compressed data are damaged or cut off here") == 2
    said = refused(capsys, run, "input=[long.c,long.csv]")
    assert "more than the 9 bytes that are allowed. Shorten it, or cut it up" in said
    assert "long.csv:2: 'text' has 13 bytes; at most 9 are allowed. Shorten it, or cut it up" in said
    assert "raise" not in said


def test_a_criterion_is_for_all_records_that_have_none(
    finished: Runs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"run={finished('hashing')}"
    (here / "a.csv").write_text("text\nno money left\nall is well\n")
    (here / "b.csv").write_text("text,criterion\nno money left,Is there joy?\n")
    (here / "a.txt").write_text("no money left")
    asked = "criterion=Is there debt?"
    assert predict([run, "input=[a.csv,b.csv,a.txt]", asked, "output=x.jsonl"]) == EXIT_OK
    found = [each["criterion"] for each in lines(here / "x.jsonl")]
    assert found == ["Is there debt?", "Is there debt?", "Is there joy?", "Is there debt?"]
    assert "criterion: has no effect: every input has" in refused(capsys, run, "input=b.csv", asked)
    assert "has no column 'ask'" in refused(capsys, run, "input=a.csv", asked, "criterion_column=ask")
    assert "text_column: has no effect: no input is a table" in refused(capsys, run, "input=a.txt", "text_column=x")
    assert "criterion: 'the criterion' is blank" in refused(capsys, run, "input=a.txt", "criterion= ")
    said = refused(capsys, run, "input=a.txt", "id_column=x")
    assert "Put it into a table, or add criterion=... to the command and leave id_column out." in said


def test_quotes_come_off_in_pairs_and_once() -> None:
    def criterion(value: str) -> str | None:
        return read_settings(PredictConfig, ["run=x", "input=y", f"criterion={value}"]).criterion

    assert criterion("'a b'") == "a b"
    assert criterion("\"'a'\"") == "'a'"
    for kept in ("the boys'", "'tis", '"a" or "b"', "'a\"", "'"):
        assert criterion(kept) == kept


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("[~/x.csv]", ("~/x.csv",)),
        ("[a b.csv, '~/c,d.csv']", ("a b.csv", "~/c,d.csv")),
        ("[2024,1e3,true]", ("2024", "1e3", "true")),
        ("[a (1).csv,b=c.csv]", ("a (1).csv", "b=c.csv")),
        ("[]", ()),
        ("~/x.csv", "~/x.csv"),
    ],
)
def test_a_list_of_texts_is_taken_as_it_stands(written: str, names: object) -> None:
    assert read_settings(PredictConfig, ["run=x", f"input={written}"]).input == names


@pytest.mark.parametrize("written", ["[a", "[a,,b]", "[a,]", "[it's]", "['a]"])
def test_what_is_no_list_is_refused(written: str) -> None:
    with pytest.raises(UserError, match="A list is written"):
        read_settings(PredictConfig, ["run=x", f"input={written}"])


def changed(run: Path, folder: Path, change: Callable[[Path], object]) -> str:
    copy = shutil.copytree(run, folder)
    change(copy)
    return f"run={copy}"


DECISION = Path("checkpoints/best/decision.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: (run / "result.json").unlink(), "is a run that has not finished"),
        (lambda run: (run / DECISION).unlink(), f"has no {DECISION}. Bring it back, or remove result.json and resume"),
        (lambda run: (run / DECISION).write_text("{}"), "decision.json that cannot be used: it does not match"),
        (lambda run: write_sealed(run / DECISION, {"threshold": 0.1}), "it belongs to other weights"),
        (lambda run: (run / "tokenizer.json").unlink(), "what it learnt to encode by is not whole"),
        (lambda run: (run / "tokenizer.json").write_text("{}"), "what it learnt to encode by is not whole"),
        (lambda run: (run / "encoding.json").write_text("[]"), "what it learnt to encode by is not whole"),
        (lambda run: swap(run / "tokenizer.json"), "not whole: tokenizer.json has changed. Bring that file back"),
        (
            lambda run: edit(run, lambda m: m.update(artefacts=[])),
            "training_metadata.json: artefacts: expected an object",
        ),
        (lambda run: (run / "checkpoints/best/model.safetensors").write_bytes(b"x"), "is damaged"),
        (lambda run: edit(run, lambda m: m.update(plan={})), "its plan is not whole"),
        (lambda run: edit(run, lambda m: m.update(classes=None)), "does not say what classes it tells apart"),
        (lambda run: edit(run, lambda m: m["config"].update(extensions=["evil"])), "with modules of your own: evil"),
    ],
)
def test_a_run_that_is_not_whole_is_refused(
    change: Callable[[Path], object], said: str, finished: Runs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "a.c").write_text(CODE)
    assert said in refused(capsys, changed(finished("tokens"), here / "run", change), "input=a.c")


def swap(tokenizer: Path) -> None:
    """Two tokens change places: as good a tokenizer as any, but not the one of this run."""
    content = read_json(tokenizer)
    vocabulary = content["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    write_json(tokenizer, content)


def edit(run: Path, change: Callable[[Any], object]) -> None:
    metadata = read_json(run / "training_metadata.json")
    change(metadata)
    write_json(run / "training_metadata.json", metadata)


def test_a_run_of_an_earlier_version_decides_at_half(
    finished: Runs, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def earlier(run: Path) -> None:
        result = read_sealed(run / "result.json")
        del result["decision"], result["calibration"]
        write_sealed(run / "result.json", result)
        (run / DECISION).unlink()
        edit(run, lambda m: [m["config"].pop(name) for name in ("threshold", "threshold_metric", "calibration")])
        edit(run, lambda m: m.pop("artefacts"))

    run = finished("tokens")
    write_test_split(run, here / "new.jsonl")
    old = changed(run, here / "run", earlier)
    assert predict([old, "input=new.jsonl", "output=a.jsonl"]) == EXIT_OK
    own = np.array([[*each["probabilities"].values()] for each in lines(here / "a.jsonl")])
    assert "run keeps no checksums of what it encodes by" in caplog.text
    temperature = read_json(run / DECISION)["temperature"]
    assert temperature != 1
    powers = own ** (1 / temperature)
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), saved(run)[0], atol=1e-12)


def test_graphs_that_came_as_such_are_not_made_of_texts(
    finished: Runs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def as_they_came(run: Path) -> None:
        properties = read_json(run / "graphs.json")
        properties["settings"]["parser"] = None
        write_json(run / "graphs.json", properties)
        edit(run, lambda m: m.pop("artefacts"))

    (here / "a.c").write_text(CODE)
    said = refused(capsys, changed(finished("graphs"), here / "run", as_they_came), "input=a.c")
    assert "was trained on graphs that came as such" in said
    assert "src/evaluate.py" in said


def test_another_encoder_than_in_training_is_refused(
    finished: Runs, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def other(run: Path) -> None:
        content = read_json(run / "encoder.json")
        content["config"]["size"] = 17
        write_json(run / "encoder.json", content)
        edit(run, lambda m: m.pop("artefacts"))

    (here / "a.c").write_text(CODE)
    run = changed(finished("hashing"), here / "run", other)
    assert "encoder: is not the one that this run was trained with" in refused(capsys, run, "input=a.c", "criterion=x")


MODEL = """
from counterpoise.models.textcnn import TextCNN


class Own(TextCNN):
    pass
"""


def test_a_model_of_your_own_answers_when_it_is_named(
    fresh: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fresh / "own_model_of_predict.py").write_text(MODEL)
    (fresh / "a.c").write_text(CODE)
    monkeypatch.syspath_prepend(fresh)
    own = ["extensions=[own_model_of_predict]", "model._target_=own_model_of_predict.Own"]
    assert call(fresh, [*SMALL, *own, "hydra.run.dir=run"], lambda: ("", "")).code == EXIT_OK
    monkeypatch.chdir(fresh)
    assert "add 'extensions=[own_model_of_predict]'" in refused(capsys, "run=run", "input=a.c")
    assert predict(["run=run", "input=a.c", "extensions=[own_model_of_predict]"]) == EXIT_OK


def test_the_commands_of_the_pages_can_be_given() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    shown = [
        line
        for page in pages
        for line in re.findall(r"python src/(evaluate|predict)\.py (run=[^`\n]*)", page.read_text())
    ]
    assert {verb for verb, _ in shown} == {"evaluate", "predict"}
    for verb, given in shown:
        schema: Any = PredictConfig if verb == "predict" else EvaluateConfig
        read_settings(schema, shlex.split(given.split("  #")[0]))


def test_help_lists_every_key_and_needs_no_torch() -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "src" / "predict.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == USAGE
    assert "torch" not in done.stderr
    for name in field_types(PredictConfig):
        assert f"  {name}=" in USAGE


def test_columns_that_escapes_make_equal_are_told_apart() -> None:
    names = ["a\x07", "a\\x07", "a\\x07 (2)", "=b", "'=b", "c"]
    found = _headings(names)
    assert found == ["a\\x07", "a\\x07 (2)", "a\\x07 (2) (2)", "'=b", "'=b (2)", "c"]
