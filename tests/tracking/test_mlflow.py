"""MLflow: what stands in the store after a run, a resumed run and a multirun."""

from __future__ import annotations

import math
import os
import shutil
import string
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracker_kit import RESULT, epoch, plan, relayed, run_folder, told, update, warned, within

from counterpoise.config.schema import parse
from counterpoise.errors import UserError
from counterpoise.events import Alarm, Rescue
from counterpoise.jsonio import read_json, write_json
from counterpoise.tracking import mlflow_client, mlflow_sweep
from counterpoise.tracking.mlflow import MLflow, MLflowConfig
from counterpoise.tracking.mlflow_sweep import end_sweep

pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database without anything in it, which takes seconds to make."""
    before = dict(os.environ)
    folder = tmp_path_factory.mktemp("mlflow")
    os.environ.update(mlflow_client.ENVIRONMENT)
    mlflow_client.Client(f"sqlite:///{folder / 'mlflow.db'}", "Default")
    yield folder / "mlflow.db"
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    (tmp_path / "store").mkdir()
    return f"{shutil.copy(empty_store, tmp_path / 'store')}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "run")


def opened(folder: Path, store: str, **config: Any) -> MLflow:
    return MLflow(MLflowConfig(store=store, **config), folder)


def client(store: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{store}")


def runs(store: str) -> list[Any]:
    """Oldest first."""
    found = client(store)
    (known,) = found.search_experiments(filter_string="name = 'counterpoise'")
    return sorted(found.search_runs([known.experiment_id]), key=lambda run: run.info.start_time)


def history(store: str, run: Any, name: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client(store).get_metric_history(run.info.run_id, name)]


def finish(tracker: MLflow) -> None:
    tracker.on_result(RESULT)
    tracker.on_end("finished")


def test_a_run_is_kept_with_its_config_its_figures_and_its_files(folder: Path, store: str) -> None:
    with relayed(folder, MLflow, "mlflow", store=store, register="guard dog") as trackers:
        told(trackers)
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    params = run.data.params
    assert (params["seed"], params["model.sizes"], params["model.pretrained"]) == ("7", "[3, 4]", "null")
    assert (params["data.path"], params["plan.lr"]) == ('""', "0.001")
    assert not any(name.startswith("tracker") for name in params), "its URI may hold a password"
    tags = run.data.tags
    assert (tags["model"], tags["data"], tags["seed"], tags["version.torch"]) == ("TextCNN", "Table", "7", "2")
    assert "fold" not in tags
    assert history(store, run, "update/loss") == [(n, pytest.approx(n / 10)) for n in (1, 2, 3, 4)]
    assert history(store, run, mlflow_client._name("predicted_share/a/ü?")) == [(4, 0.25)]
    assert history(store, run, "best/test/f1") == [(4, 0.25)]
    found = client(store)
    for where, names in ((None, {"training_metadata.json", "result.json"}), ("model", {"model/model.safetensors"})):
        assert names <= {file.path for file in found.list_artifacts(run.info.run_id, where)}
    (version,) = found.search_model_versions("name='guard dog'")
    assert version.run_id == run.info.run_id
    assert version.source.endswith("/model")


def test_files_can_be_left_out(folder: Path, store: str) -> None:
    tracker = opened(folder, store, artefacts=False)
    tracker.on_start(plan())
    finish(tracker)
    assert not client(store).list_artifacts(runs(store)[0].info.run_id)


def test_another_version_is_added_to_a_registered_model(tmp_path: Path, store: str) -> None:
    for name in ("a", "b"):
        tracker = opened(run_folder(tmp_path / name), store, register="m")
        tracker.on_start(plan())
        finish(tracker)
    assert {version.version for version in client(store).search_model_versions("name='m'")} == {1, 2}


# The earlier attempt was told of updates 1 to 3; the checkpoint is of update 2.
def test_a_resumed_run_goes_on_in_its_own_and_sends_nothing_twice(folder: Path, store: str) -> None:
    first = opened(folder, store)
    first.on_start(plan())
    for number in (1, 2, 3):
        first.on_update(update(number, number / 10))
    first.on_end("killed")
    assert runs(store)[0].info.status == "KILLED"
    second = opened(folder, store)
    second.on_start(plan(2))
    assert runs(store)[0].info.status == "RUNNING"
    for number in (3, 4):
        second.on_update(update(number, number / 10))
    finish(second)
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in history(store, run, "update/loss")] == [1, 2, 3, 4]


def test_what_is_done_again_after_a_rescue_is_sent_again(folder: Path, store: str) -> None:
    tracker = opened(folder, store)
    tracker.on_start(plan())
    for number in (1, 2, 3):
        tracker.on_update(update(number, 0.1))
    tracker.on_alarm(Alarm("x", "stop", 3, 0, "The loss is NaN", override="optimizer.lr=1"), "rescued")
    tracker.on_rescue(Rescue(1, 3, 1, 0, 0.5, 10, None, "guard", "Because."), plan(1))
    tracker.on_update(update(2, 0.9))
    tracker.flush()
    resumed = opened(folder, store)
    resumed.on_start(plan(1, rescues=[{}]))
    for number in (2, 3):
        resumed.on_update(update(number, 0.9))
    finish(resumed)
    (run,) = runs(store)
    assert sorted(history(store, run, "update/loss")) == [(1, 0.1), (2, 0.1), (2, 0.9), (3, 0.1), (3, 0.9)]
    assert run.data.tags["guard"] == "The loss is NaN (rescued). Try: optimizer.lr=1"


def test_epochs_that_an_earlier_attempt_could_not_send_are_sent(folder: Path, store: str) -> None:
    tracker = opened(folder, store)
    tracker.on_start(plan(8, history=[asdict(epoch(0, 4)), asdict(epoch(1, 8))]))
    finish(tracker)
    assert history(store, runs(store)[0], "valid/f1") == [(4, 0.5), (8, 0.5)]


def test_a_run_that_the_store_has_lost_is_begun_anew(
    folder: Path, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_json(folder / "mlflow.json", {"uri": f"sqlite:///{store}", "experiment": "counterpoise", "run": "0" * 32})
    tracker = opened(folder, store)
    tracker.on_start(plan())
    finish(tracker)
    assert warned(caplog) == [f"MLflow does not know run {'0' * 32} any more: a new one is begun."]
    assert read_json(folder / "mlflow.json")["run"] == runs(store)[0].info.run_id


@pytest.mark.parametrize("other", ["experiment", "store"])
def test_a_run_that_goes_on_elsewhere_is_begun_anew_with_a_warning(
    other: str, folder: Path, store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(folder, store).on_start(plan())
    first = read_json(folder / "mlflow.json")
    elsewhere = {"store": store, "experiment": "b"} if other == "experiment" else {"store": f"{tmp_path}/b.db"}
    if other == "store":
        shutil.copy(store, tmp_path / "b.db")
    tracker = MLflow(MLflowConfig(**elsewhere), folder)
    tracker.on_start(plan())
    (line,) = warned(caplog)
    assert line.startswith("run is in MLflow already, experiment counterpoise of sqlite:///")
    assert read_json(folder / "mlflow.json")["run"] != first["run"]


# Its run was killed, and resumed while this process was still sending.
def test_an_earlier_attempt_that_outlives_its_run_leaves_the_status_to_the_later(folder: Path, store: str) -> None:
    earlier = opened(folder, store)
    earlier.on_start(plan())
    later = opened(folder, store)
    later.on_start(plan())
    place = read_json(folder / "mlflow.json")
    earlier.on_update(update(1))
    earlier.on_end("killed")
    assert read_json(folder / "mlflow.json") == place
    assert runs(store)[0].info.status == "RUNNING"
    finish(later)
    assert runs(store)[0].info.status == "FINISHED"


def test_the_password_of_the_environments_uri_is_kept_in_no_file(folder: Path, store: str) -> None:
    tracker = opened(folder, store)
    tracker._client.uri = "http://me:hidden@host"
    tracker.on_start(plan())
    assert read_json(folder / "mlflow.json")["uri"] == "http://...@host"
    assert tracker._earlier() == tracker._run, "it is found again"


def test_a_param_is_never_changed(folder: Path, store: str) -> None:
    opened(folder, store).on_start(plan())
    metadata = read_json(folder / "training_metadata.json")
    write_json(folder / "training_metadata.json", metadata | {"plan": {"lr": 5, "new": 1}})
    opened(folder, store).on_start(plan())
    params = runs(store)[0].data.params
    assert (params["plan.lr"], params["plan.new"]) == ("0.001", "1")


def test_more_than_fits_into_one_request_and_figures_that_are_none(folder: Path, store: str) -> None:
    metadata = read_json(folder / "training_metadata.json")
    metadata["config"]["weights"] = {f"w{number}": number for number in range(150)} | {"long": "x" * 9000}
    write_json(folder / "training_metadata.json", metadata)
    tracker = opened(folder, store)
    tracker.on_start(plan())
    for number in range(1, 301):
        tracker.on_update(update(number, math.nan if number == 7 else math.inf if number == 8 else 1.0))
    finish(tracker)
    (run,) = runs(store)
    losses = history(store, run, "update/loss")
    assert len(losses) == 300
    assert math.isnan(losses[6][1])
    assert len(run.data.params["weights.long"]) == 6000


def test_two_jobs_at_once_have_one_parent_in_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    sweep, store = tmp_path / "sweep", str(tmp_path / "outputs" / "mlflow.db")
    folders = [run_folder(sweep / name, sweep=str(sweep)) for name in ("a", "b")]
    both = [relayed(folder, MLflow, "mlflow", store=store) for folder in folders]
    for trackers in both:
        told(trackers)
    for trackers in both:
        trackers.close("finished", 60.0)
    parent, *children = runs(store)
    assert parent.info.run_name == "sweep"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert len(children) == 2


def test_the_parent_gets_means_the_report_and_the_final_status(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_sweep, "PREEMPTED_WAIT", 60.0)  # a busy machine imports MLflow for longer than 5 seconds
    sweep = tmp_path / "sweep"
    folders = [run_folder(sweep / name, sweep=str(sweep)) for name in ("a", "b")]
    for each in folders:
        tracker = opened(each, store)
        tracker.on_start(plan())
        finish(tracker)
    means = {"one configuration": {"jobs": 2, "over": "seeds", "f1": {"mean": 0.5, "std": 0.25, "n": 2}}}
    write_json(sweep / "summary.json", {"mean": means})
    (sweep / "report").mkdir()
    (sweep / "report" / "index.html").write_text("<html>")
    end_sweep(sweep, folders, ["finished", "finished"])
    parent = runs(store)[0]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {"mean/f1": 0.5, "std/f1": 0.25}
    assert {file.path for file in client(store).list_artifacts(parent.info.run_id)} == {"summary.json", "report"}
    for statuses, expected in ((["finished", "failed"], "FAILED"), (["unfinished", "failed"], "KILLED")):
        end_sweep(sweep, folders, statuses)
        assert runs(store)[0].info.status == expected
    assert len(runs(store)) == 3, "repeated, it has the same parent"


def test_a_multirun_that_mlflow_knows_nothing_of_needs_no_end(tmp_path: Path) -> None:
    end_sweep(tmp_path, [tmp_path / "a"], ["finished"])
    assert not list(tmp_path.iterdir())


def test_an_unfinished_multirun_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mlflow_sweep, "PREEMPTED_WAIT", 0.0)
    folder = run_folder(tmp_path / "a")
    write_json(folder / "mlflow.json", {})
    write_json(tmp_path / "summary.json", {"mean": {}})
    place = {"uri": "http://127.0.0.1:9", "experiment": "counterpoise", "run": "0"}
    write_json(tmp_path / ".mlflow.json", {**place, "config": asdict(MLflowConfig())})
    with within(5):
        end_sweep(tmp_path, [folder], ["finished", "unfinished"])
    assert "it had not sent everything in time" in warned(caplog)[0]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"config": {"foreign": 1}}', '{"config": {}}'])
def test_a_damaged_note_of_the_parent_is_told_and_changes_nothing_else(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run_folder(tmp_path / "a")
    write_json(folder / "mlflow.json", {})
    (tmp_path / ".mlflow.json").write_text(content)
    end_sweep(tmp_path, [folder], ["finished"])
    (line,) = warned(caplog)
    assert line.startswith("MLflow is not told how the multirun ended: ")


def test_without_a_uri_the_environments_counts_then_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert MLflowConfig(store="x/y.db").where == f"sqlite:///{tmp_path}/x/y.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert MLflowConfig().where == "http://there"
    assert MLflowConfig(uri="http://here").where == "http://here"


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"uri": "host:5000"}, r"tracker\.mlflow\.uri: 'host:5000' is no URI of a store"),
        ({"uri": "mlruns"}, r"tracker\.mlflow\.uri: 'mlruns' is no URI"),
        ({"uri": "http://me:hidden@host"}, r"tracker\.mlflow\.uri: must hold no password.*MLFLOW_TRACKING_PASSWORD"),
        ({"uri": "ftp://me:hidden@host"}, r"tracker\.mlflow\.uri: 'ftp://\.\.\.@host' is no URI"),
        ({"experiment": " "}, r"tracker\.mlflow\.experiment: must not be empty"),
        ({"register": "a/b"}, r"tracker\.mlflow\.register: 'a/b' is no name"),
        ({"register": "a", "artefacts": False}, r"tracker\.mlflow\.register: has no effect"),
    ],
)
def test_what_is_wrong_is_told_before_training(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse(MLflowConfig, given_, "tracker.mlflow")


@given(st.text(max_size=400) | st.text(string.punctuation, max_size=20))
def test_every_name_becomes_one_that_mlflow_takes(text: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    name = mlflow_client._name(f"predicted_share/{text}")
    assert name
    _validate_metric_name(name)  # raises


@pytest.mark.parametrize("names", [("👍", "👎"), ("?", "!"), ("C#", "C+"), ("a/b", "a//b"), (".", "..", "_.")])
def test_classes_of_different_names_have_metrics_of_their_own(names: tuple[str, ...], folder: Path, store: str) -> None:
    per_class = {name: {"predicted_share": 1 / (number + 2)} for number, name in enumerate(names)}
    tracker = opened(folder, store)
    tracker.on_start(plan())
    for number, step in ((0, 2), (1, 4)):
        tracker.on_epoch(replace(epoch(number, step), valid={"f1": 0.5, "per_class": per_class}))
    finish(tracker)
    (run,) = runs(store)
    keys = [key for key in run.data.metrics if key.startswith("predicted_share/")]
    assert len(keys) == len(names)
    assert {tuple(history(store, run, key)) for key in keys} == {
        ((2, share["predicted_share"]), (4, share["predicted_share"])) for share in per_class.values()
    }


@given(st.text(max_size=300), st.text(max_size=300))
def test_different_names_stay_different(first: str, second: str) -> None:
    same = first == second
    assert (mlflow_client._name(first) == mlflow_client._name(second)) is same
    assert mlflow_client._name(f"{'x' * 250}{first}") != mlflow_client._name(f"{'x' * 250}{second}") or same
