"""CloudWatch, in front of moto's server: what arrives, and what is not even sent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tracker_kit import plan, relayed, run_folder, told, update, warned

from counterpoise.config.schema import parse
from counterpoise.errors import UserError
from counterpoise.tracking.cloudwatch import CloudWatch, CloudWatchConfig, ascii_name

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", str(tmp_path / "none")),
        ("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none")),
    ):
        monkeypatch.setenv(name, value)
    return boto3.client("cloudwatch", endpoint_url=endpoint)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "run ü")


def total(client: Any, namespace: str, name: str) -> float:
    """Of the values of one metric in the last minutes."""
    metric, *_ = client.list_metrics(Namespace=namespace, MetricName=name)["Metrics"]
    asked = {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": True}
    now = datetime.now(UTC)
    answer = client.get_metric_data(
        MetricDataQueries=[asked], StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=2)
    )
    return sum(answer["MetricDataResults"][0]["Values"])


def test_figures_arrive_under_model_data_and_run(client: Any, folder: Path, endpoint: str) -> None:
    with relayed(folder, CloudWatch, "cloudwatch", namespace="whole", endpoint=endpoint) as trackers:
        told(trackers)
    metrics = client.list_metrics(Namespace="whole")["Metrics"]
    names = {metric["MetricName"] for metric in metrics}
    expected = {"update/loss", "update/lr", "update/grad_norm/head", "epoch", "valid/f1", "best/test/f1"}
    assert expected <= names
    assert ascii_name("predicted_share/a/ü?") in names
    dimensions = {(each["Name"], each["Value"]) for each in metrics[0]["Dimensions"]}
    assert dimensions == {("model", "TextCNN"), ("data", "Table"), ("run", ascii_name("run ü"))}
    assert total(client, "whole", "update/loss") == pytest.approx(0.1 + 0.2 + 0.3 + 0.4)


class Counting:
    """Stands in for the client and notes how much came at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def put_metric_data(self, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803
        self.sizes.append(len(MetricData))
        assert all(math.isfinite(metric["Value"]) for metric in MetricData)


def test_no_request_holds_too_much_and_no_figure_is_none(client: Any, folder: Path) -> None:
    tracker = CloudWatch(CloudWatchConfig(), folder)
    counting = tracker._client = Counting()
    tracker.on_start(plan())
    for number in range(1, 301):
        tracker.on_update(update(number, (math.nan, math.inf, 1.0, 1e300)[number % 4]))
    tracker.flush()
    assert counting.sizes == [300 * 3 + 75]
    for number in range(1, 601):
        tracker.on_update(update(number))
    tracker.on_end("finished")
    assert counting.sizes[1:] == [1000, 1000, 400]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "no AWS credentials were found. Set AWS_ACCESS_KEY_ID and"),
        (("AWS_DEFAULT_REGION",), "no AWS region was found. Set tracker.cloudwatch.region, or AWS_DEFAULT_REGION"),
    ],
)
def test_what_aws_lacks_is_told_once(
    missing: tuple[str, ...],
    said: str,
    client: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in missing:
        monkeypatch.delenv(name)
    with relayed(folder, CloudWatch, "cloudwatch") as trackers:
        told(trackers)
    (line,) = warned(caplog)
    assert line.startswith(f"Tracker cloudwatch is dropped: LookupError: {said}")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"namespace": "AWS/x"}, r"tracker\.cloudwatch\.namespace: 'AWS/x' is none that CloudWatch takes"),
        ({"namespace": "ü"}, r"tracker\.cloudwatch\.namespace: 'ü'"),
        ({"endpoint": "host"}, r"tracker\.cloudwatch\.endpoint: 'host' is no address"),
    ],
)
def test_what_is_wrong_is_told_before_training(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse(CloudWatchConfig, config, "tracker.cloudwatch")


@given(st.text(max_size=400))
def test_every_name_becomes_one_that_cloudwatch_takes(text: str) -> None:
    name = ascii_name(text)
    assert 1 <= len(name) <= 255
    assert name.isascii()
    assert name.isprintable()
    assert not name.startswith(":")
    assert name.strip(), "white space alone is none"


@given(st.text(max_size=300), st.text(max_size=300))
@example("predicted_share/好", "predicted_share/坏")
@example("x" * 255 + "a", "x" * 255 + "b")
@example("", "_")
def test_different_names_stay_different(first: str, second: str) -> None:
    assert (ascii_name(first) == ascii_name(second)) is (first == second)
