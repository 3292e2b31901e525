"""Trackers beside a run: what one costs that works, and what becomes of a run whose tracker does not.

    python benchmarks/trackers.py [--rounds 3] [--updates 20000]

Three tables. The time that the training thread spends on telling one logged update to a tracker. The seconds of a short
run (200 demo functions, TextCNN, five epochs) with each tracker, by turns with runs without one: of training, until the
result is written, and of the whole command; TensorBoard into the run folder, MLflow into a fresh SQLite file for each
run, and CloudWatch into moto's server on this machine. Then one run for each way in which a tracker can fail, with the
exit code, the warnings, and whether result, predictions and checkpoints are those of the run without a tracker.
Needs the extras `dev`; a real MLflow server is started, and killed in mid-run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.config.targets import Component
from counterpoise.events import UpdateEvent
from counterpoise.jsonio import write_json
from counterpoise.tracking.relay import Trackers
from counterpoise.tracking.tensorboard import TensorBoard, TensorBoardConfig

ROOT = Path(__file__).resolve().parents[1]
RUN = (
    *("data.size=200", "model=textcnn", "train.epochs=5", "train.log_every=1", "early_stopping.enabled=false"),
    *("hardware.precision=fp32", "hydra.run.dir=run"),
)
AWS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
VARYING = ("seconds", "seal")
START = 120.0
"""Seconds for a server to start."""


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    folder: Path
    code: int
    seconds: float
    err: str

    @property
    def warnings(self) -> list[str]:
        """What was said of trackers."""
        return [line.removeprefix("Warning: ") for line in self.err.splitlines() if "racker" in line]

    @property
    def training(self) -> float:
        """Seconds from the first update until the result was written."""
        return float(json.loads((self.folder / "run" / "result.json").read_text())["seconds"])


def train(folder: Path, *overrides: str, meanwhile: Callable[[Path, int], None] | None = None) -> Answer:
    """One run in a fresh folder; ``meanwhile`` is called with its run folder and process once an epoch is done."""
    folder.mkdir(parents=True)
    command = [sys.executable, str(ROOT / "src" / "train.py"), *RUN, f"paths.cache={folder.parent / 'cache'}"]
    environment = {**os.environ, **AWS, "OMP_NUM_THREADS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    started = time.monotonic()
    with (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [*command, *overrides], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=err
        )
    if meanwhile is not None:
        while process.poll() is None and not _epochs(folder / "run"):
            time.sleep(0.01)
        meanwhile(folder / "run", process.pid)
    answer = Answer(folder, process.wait(), time.monotonic() - started, (folder / "err").read_text())
    if not (folder / "run" / "result.json").exists():
        raise SystemExit(f"{' '.join(overrides)}: the run failed.\n{answer.err}")
    return answer


def _epochs(run: Path) -> int:
    try:
        return len(json.loads((run / "training_history.json").read_text())["epochs"])
    except OSError:
        return 0


def same(run: Path, reference: Path) -> bool:
    """Whether result, history, predictions and weights are the same; times aside."""
    pairs = [[_plain(json.loads((each / "run" / name).read_text())) for each in (run, reference)] for name in _TEXTS]
    names = [path.relative_to(reference) for kind in _FILES for path in sorted(reference.rglob(kind))]
    pairs += [[(each / name).read_bytes() for each in (run, reference)] for name in names]
    return bool(names) and all(one == other for one, other in pairs)


_TEXTS, _FILES = ("result.json", "training_history.json"), ("predictions_*.parquet", "*.safetensors")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if key not in VARYING}
    return [_plain(item) for item in value] if isinstance(value, list) else value


# What training pays


def telling(folder: Path, updates: int) -> None:
    """Time of one call, one hundred a second, as a fast run makes them."""
    write_json(folder / "training_metadata.json", {"config": {}})
    trackers = Trackers({"tensorboard": Component(TensorBoard, TensorBoardConfig())}, folder)
    seconds = []
    with trackers:
        trackers.on_start({"position": {"update": 0, "consumed": 0}, "history": []})
        for number in range(updates):
            event = UpdateEvent(number, 0, 0.5, 1e-3, 0.5, 8, 1.0, component_grad_norms={"head": 1.0, "body": 2.0})
            started = time.perf_counter()
            trackers.on_update(event)
            seconds.append(time.perf_counter() - started)
            if number % 10 == 0:
                time.sleep(0.001)
    cut = statistics.quantiles(seconds, n=1000)
    print(
        f"telling one update, {updates:,} calls: median {cut[499] * 1e6:.1f} µs, 99.9 % below {cut[998] * 1e6:.0f} µs"
    )


# Servers


@contextmanager
def mlflow_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real one, with a SQLite backend, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    command = [*(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1")]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'db'}", "--artifacts-destination", str(folder / "files")]
    extra = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **extra}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START
        while not _healthy(f"http://127.0.0.1:{port}"):
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a server and its workers."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def cloudwatch() -> Iterator[str]:
    """moto's server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


# The tables


def costs(folder: Path, rounds: int, aws: str) -> Path:
    """Seconds by tracker; returns the folder of a run without one."""
    kinds: dict[str, list[str]] = {
        "none": [],
        "tensorboard": ["tracker=tensorboard"],
        "mlflow": ["tracker=mlflow"],
        "cloudwatch": ["tracker=cloudwatch", f"tracker.cloudwatch.endpoint={aws}"],
    }
    kinds["all three"] = ["tracker=[tensorboard,mlflow,cloudwatch]", f"tracker.cloudwatch.endpoint={aws}"]
    train(folder / "first")  # fills the cache
    found: dict[str, list[Answer]] = {name: [] for name in kinds}
    for number in range(rounds):
        for name, overrides in kinds.items():
            found[name].append(train(folder / f"{name}-{number}".replace(" ", "-"), *overrides))
    print(f"\n{'tracker':>12}  {'training s':>10}  {'command s':>10}  {'same bits':>9}  {'warnings':>8}")
    for name, answers in found.items():
        training, whole = (statistics.median(values) for values in _seconds(answers))
        kept = all(same(answer.folder, folder / "none-0") for answer in answers)
        warned = sum(len(answer.warnings) for answer in answers)
        print(f"{name:>12}  {training:>10.2f}  {whole:>10.2f}  {kept!s:>9}  {warned:>8}")
    return folder / "none-0"


def _seconds(answers: list[Answer]) -> tuple[list[float], list[float]]:
    return [answer.training for answer in answers], [answer.seconds for answer in answers]


def failures(folder: Path, reference: Path) -> None:
    """One run for each way to fail."""
    print(f"\n{'what fails':>34}  {'exit':>4}  {'same bits':>9}  {'command s':>9}  warnings")
    with (
        mlflow_server(folder / "server") as (url, server),
        socket.create_server(("127.0.0.1", 0)) as deaf,
    ):
        silent = f"http://127.0.0.1:{deaf.getsockname()[1]}"

        def kill(run: Path, pid: int) -> None:
            _until((run / "mlflow.json").exists)
            end(server)

        def fill(run: Path, pid: int) -> None:
            _until(lambda: any((run / "tensorboard").glob("events*")))
            for child in hosts(pid):
                resource.prlimit(child, resource.RLIMIT_FSIZE, (1, 1))

        def stop(run: Path, pid: int) -> None:
            for child in hosts(pid):
                os.kill(child, signal.SIGKILL)

        cases: list[tuple[str, list[str], Callable[[Path, int], None] | None]] = [
            ("MLflow server killed in mid-run", ["tracker=mlflow", f"tracker.mlflow.uri={url}"], kill),
            ("MLflow server unreachable", ["tracker=mlflow", "tracker.mlflow.uri=http://127.0.0.1:9"], None),
            ("MLflow server never answers", ["tracker=mlflow", f"tracker.mlflow.uri={silent}"], None),
            ("TensorBoard's files cannot grow", ["tracker=tensorboard"], fill),
            ("TensorBoard's process killed", ["tracker=tensorboard"], stop),
            ("CloudWatch unreachable", _aws("http://127.0.0.1:9"), None),
            ("CloudWatch never answers", _aws(silent), None),
        ]
        for number, (what, overrides, meanwhile) in enumerate(cases):
            answer = train(folder / f"failing-{number}", *overrides, meanwhile=meanwhile)
            said = "; ".join(line[:70] for line in answer.warnings)
            bits = same(answer.folder, reference)
            row = f"{what:>34}  {answer.code:>4}  {bits!s:>9}  {answer.seconds:>9.1f}  {len(answer.warnings)}: {said}"
            print(row, flush=True)


def _aws(url: str) -> list[str]:
    return ["tracker=cloudwatch", f"tracker.cloudwatch.endpoint={url}"]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def hosts(pid: int) -> list[int]:
    """The processes of a run's trackers."""
    children = [int(c) for path in Path(f"/proc/{pid}/task").glob("*/children") for c in path.read_text().split()]
    return [child for child in children if b"tracking.host" in Path(f"/proc/{child}/cmdline").read_bytes()]


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=20_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="trackers-"))
    try:
        (folder / "telling").mkdir()
        telling(folder / "telling", given.updates)
        with cloudwatch() as aws:
            reference = costs(folder / "runs", given.rounds, aws)
        failures(folder / "runs", reference)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
