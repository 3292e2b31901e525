"""What is used of MLflow's client: bounded in time, within its limits, with every kind of store."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from counterpoise.jsonio import dumps
from counterpoise.names import distinct

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
"""Of the tracker's process, where the user has not set them: a server that does not answer is given up in half a
minute, and nobody but it is told of anything."""
LOCKED = 50.0
"""Seconds to wait while another job makes the database."""
METRICS, TAGS = 1000, 100
"""Most in one request."""
LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000
Figure = tuple[str, float, float, int]
"""Name, value, time in seconds since 1970, step."""


class Client:
    """A connection to a store, and one of its experiments, which is made if it is not there.

    Args:
        uri: of the store.
        experiment: name of the experiment.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient, entities, exceptions

        self._entities, self._refused = entities, exceptions.MlflowException
        self.uri = uri
        file = sqlite_file(uri)
        with _alone(file):  # two that make one database at once would spoil it
            self._client = MlflowClient(uri)
            self._experiment = self._find(experiment, None if file is None else _artefacts(file))

    def _find(self, name: str, artefacts: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name, artifact_location=artefacts)
            except self._refused:  # another job was faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def resume(self, run: str) -> bool:
        """Set a run to running again; returns whether the store knows it."""
        try:
            known = self._client.get_run(run).info.lifecycle_stage == "active"
        except self._refused as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        if known:
            self._client.update_run(run, "RUNNING")
        return known

    def create(self, name: str, tags: Mapping[str, Any]) -> str:
        """A new run's id."""
        given = {_name(key): str(value)[:LONGEST_TAG] for key, value in tags.items()}
        return str(self._client.create_run(self._experiment, tags=given, run_name=name).info.run_id)

    def tag(self, run: str, name: str, value: str) -> None:
        """Set a tag."""
        self._client.set_tag(run, _name(name), value[:LONGEST_TAG])

    def params(self, run: str, params: Mapping[str, Any]) -> None:
        """Those that the run does not have yet: none may be changed."""
        known = self._client.get_run(run).data.params
        given = {_name(key): _text(value)[:LONGEST_PARAM] for key, value in params.items()}
        new = [self._entities.Param(key, value) for key, value in given.items() if key not in known]
        for some in _chunks(new, TAGS):
            self._client.log_batch(run, params=some)

    def figures(self, run: str, figures: Sequence[Figure]) -> None:
        """Metrics, in as few requests as may be; NaN and infinite ones as well."""
        entries = [self._entities.Metric(_name(n), value, round(at * 1000), step) for n, value, at, step in figures]
        for some in _chunks(entries, METRICS):
            self._client.log_batch(run, metrics=some)

    def files(self, run: str, paths: Iterable[Path], below: str | None = None) -> None:
        """Artefacts, each under its own name, in the folder ``below``."""
        for path in paths:
            self._client.log_artifact(run, str(path), below)

    def register(self, run: str, model: str, below: str) -> None:
        """Add the artefacts in the folder ``below`` as a version of a registered model, made if it is not there."""
        with suppress(self._refused):  # it is there: what else is wrong, the next call says
            self._client.create_registered_model(model)
        source = f"{self._client.get_run(run).info.artifact_uri}/{below}"
        self._client.create_model_version(model, source, run, await_creation_for=0)

    def end(self, run: str, status: str) -> None:
        """Set the final status."""
        self._client.set_terminated(run, status)


def sqlite_file(uri: str) -> Path | None:
    """The file of a store that is one."""
    path = uri.removeprefix("sqlite:///")
    return Path(path) if path != uri else None


def _alone(file: Path | None) -> Any:
    if file is None:
        return nullcontext()
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{file}.lock", timeout=LOCKED)


def _artefacts(file: Path) -> str:
    return file.with_name(f"{file.stem}_artefacts").as_uri()


def _chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _name(text: str) -> str:
    """A name that every store takes: letters, digits and ``_-. :``, parts between slashes; a class may be anything.

    Where it cannot be all of ``text``, a hash keeps it apart from other names.
    """
    parts = [re.sub(r"[^\w\-. :]", "_", part) for part in text.split("/")]
    readable = "/".join(part if part.strip(".") else f"_{part}" for part in parts)
    return distinct(readable, text, LONGEST_NAME)


def _text(value: object) -> str:
    return value if isinstance(value, str) and value else dumps(value, indent=None)


def git_commit() -> str | None:
    """Of the current folder; ``None`` where it is in no repository."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def flat(config: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Values by dotted key; lists are values."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{where}.{key}" if where else str(key)
        found |= flat(value, name) if isinstance(value, Mapping) and value else {name: value}
    return found
