"""MLflow: a run for each job, below one for the multirun; a resumed job goes on in its own."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from filelock import FileLock

from counterpoise.addresses import has_credentials, without_credentials
from counterpoise.errors import Problem
from counterpoise.events import Alarm, EpochEvent, Rescue, UpdateEvent
from counterpoise.jsonio import write_json
from counterpoise.paths import user_path
from counterpoise.run_files import MLflowPlace, read_metadata, read_mlflow_place
from counterpoise.tracking.base import Tracker, TrackerConfig
from counterpoise.tracking.figures import is_figure, of_epoch, of_update
from counterpoise.tracking.folder import RunFolder
from counterpoise.tracking.mlflow_client import LOCKED, Client, Figure, flat, git_commit

log = logging.getLogger(__name__)

PLACE = "mlflow.json"
"""In a run's folder: which run of which store it is, and what was sent."""
PARENT = ".mlflow.json"
"""The same of a multirun, in its folder."""
MODEL = "model"
"""Folder of the best weights among a run's artefacts."""
STATUS = {"finished": "FINISHED", "failed": "FAILED", "preempted": "KILLED", "killed": "KILLED"}
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
"""Of stores; that of a database may name its driver, as mysql+pymysql does."""


@dataclass(frozen=True, kw_only=True)
class MLflowConfig(TrackerConfig):
    """Which store, and what goes there."""

    uri: str | None = None
    """A server, e.g. http://host:5000, or a database; null: MLFLOW_TRACKING_URI where it is set, else ``store``."""
    store: str = "outputs/mlflow.db"
    """SQLite file of runs without a server; their artefacts lie beside it."""
    experiment: str = "counterpoise"
    """Name of the experiment that runs belong to."""
    register: str | None = None
    """Name of a registered model that each finished run adds a version to; null for none."""
    artefacts: bool = True
    """Send files of the run folder and its best weights."""
    wait: float = 120.0

    @property
    def where(self) -> str:
        """The URI of the store."""
        return (
            self.uri
            or os.environ.get("MLFLOW_TRACKING_URI")
            or f"sqlite:///{user_path(self.store, 'tracker.mlflow.store').absolute()}"
        )

    def problems(self) -> Iterable[Problem]:
        """What is wrong with the URI or a name by itself."""
        scheme = re.split("[:+]", self.uri or "http:")[0]
        if scheme not in SCHEMES:
            example = "Expected one such as http://host:5000 or sqlite:///folder/mlflow.db."
            yield Problem("uri", f"{without_credentials(str(self.uri))!r} is no URI of a store.", example)
        if has_credentials(self.uri or ""):
            remedy = (
                "Leave it out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment; "
                "a database's whole URI may be MLFLOW_TRACKING_URI there."
            )
            yield Problem("uri", "must hold no password: it is kept in the run's files.", remedy)
        if not self.experiment.strip():
            yield Problem("experiment", "must not be empty.")
        if self.register is not None and (not self.register.strip() or re.search("[/:]", self.register)):
            yield Problem("register", f"{self.register!r} is no name of a model: it is empty, or has / or : in it.")
        if self.register is not None and not self.artefacts:
            yield Problem("register", "has no effect with artefacts=false: there are no weights to register.")


class MLflow(Tracker):
    """Sends figures every few seconds, and files at the end."""

    Config: ClassVar[type] = MLflowConfig
    needs: ClassVar[tuple[str, str] | None] = ("mlflow", "mlflow")

    def __init__(self, config: MLflowConfig, folder: Path) -> None:
        super().__init__(config, folder)
        self.metadata: Mapping[str, Any] = read_metadata(RunFolder(folder).metadata)
        self._client = Client(config.where, config.experiment)
        self._run: str | None = None
        self._figures: list[Figure] = []
        self._rescues = 0
        self._attempt = uuid4().hex
        self._sent: dict[str, list[int]] = {"update": [-1, 0], "epoch": [-1, 0]}
        """The last update and epoch that were taken up, each with the number of rescues before it: what is done again
        after a resumption is not sent again, and what is done again after a rescue is."""

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Begin a run, or go on in the one that an earlier attempt began."""
        self._rescues = len(plan["rescues"])
        self._run = self._earlier() or self._begin()
        self._write_place()
        facts = {f"plan.{key}": value for key, value in self.metadata["plan"].items()}
        config = {key: value for key, value in self.metadata["config"].items() if key not in ("tracker", "resume")}
        self._client.params(self._run, flat(config) | facts)
        for epoch in plan["history"]:  # what an earlier attempt could not send
            self.on_epoch(EpochEvent(**epoch))

    def _earlier(self) -> str | None:
        place = read_place(self.folder / PLACE, self._client.uri, self.config.experiment)
        if place is None:
            return None
        if not self._client.resume(place["run"]):
            log.warning("MLflow does not know run %s any more: a new one is begun.", place["run"])
            return None
        self._sent = {"update": list(place["sent"]["update"]), "epoch": list(place["sent"]["epoch"])}
        return place["run"]

    def _begin(self) -> str:
        config, machine = self.metadata["config"], self.metadata["machine"]
        sweep = self.metadata.get("sweep")
        tags = {
            "model": config["model"]["_target_"].rsplit(".", 1)[-1],
            "data": config["data"]["_target_"].rsplit(".", 1)[-1],
            "seed": config["seed"],
            "fold": config["fold"],
            "folder": self.folder,
            "data_fingerprint": self.metadata["data_fingerprint"],
            **{f"version.{name}": value for name, value in machine.items()},
            "mlflow.source.git.commit": git_commit(),
            "mlflow.parentRunId": parent_of(self._client, self.config, Path(sweep)) if sweep else None,
        }
        return self._client.create(self.folder.name, {k: value for k, value in tags.items() if value is not None})

    def on_update(self, event: UpdateEvent) -> None:
        """Take up figures of a logged update."""
        self._add("update", event.update, of_update(event), event.update)

    def on_epoch(self, event: EpochEvent) -> None:
        """Take up figures of an epoch."""
        self._add("epoch", event.epoch, of_epoch(event), event.update)

    def _add(self, kind: str, number: int, figures: Mapping[str, float], step: int) -> None:
        mark = [self._rescues, number]
        if mark > self._sent[kind]:
            self._sent[kind] = mark
            self._figures += [(name, value, self.now, step) for name, value in figures.items()]

    def on_alarm(self, alarm: Alarm, action: str) -> None:
        """What a guard saw last, as a tag."""
        self._client.tag(self._begun, "guard", f"{alarm.message} ({action}). Try: {alarm.override}")

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """From here on updates are done again, with other figures."""
        self._rescues = rescue.number

    def flush(self) -> None:
        """Send figures."""
        if self._figures:
            self._client.figures(self._begun, self._figures)
            self._figures.clear()
            with suppress(OSError):  # a resumed run would send some again, which are the same
                if self._own():
                    self._write_place()

    def on_result(self, result: Mapping[str, Any]) -> None:
        """Figures of the best epoch, then files: the weights last, which are the largest."""
        step = int(result["updates"])
        for split in ("valid", "test"):
            for name, value in (result.get(split) or {}).items():
                if is_figure(value):
                    self._figures.append((f"best/{split}/{name}", value, self.now, step))
        self.flush()
        if self.config.artefacts:
            self._client.files(self._begun, artefacts(self.folder))
            self._client.files(self._begun, sorted((self.folder / "plots").glob("*.png")), "plots")
            self._client.files(self._begun, sorted((self.folder / ".hydra").glob("*.yaml")), "config")
            self._client.files(self._begun, sorted((self.folder / "checkpoints" / "best").iterdir()), MODEL)
        if self.config.register is not None and result["status"] == "finished":
            self._client.register(self._begun, self.config.register, MODEL)

    def on_end(self, status: str) -> None:
        """The last figures, and the final status."""
        if self._run is not None:
            self.flush()
            if self._own():
                self._client.end(self._run, STATUS[status])

    @property
    def _begun(self) -> str:
        assert self._run is not None
        return self._run

    def _own(self) -> bool:
        """Whether no later attempt has gone on in this run: one that is killed may still be sending then."""
        try:
            return read_mlflow_place(self.folder / PLACE).get("attempt") == self._attempt
        except (OSError, ValueError):
            return True

    def _write_place(self) -> None:
        facts = {"sent": self._sent, "attempt": self._attempt}
        write_json(self.folder / PLACE, _place(self._client, self.config, self._begun) | facts)


def parent_of(client: Client, config: MLflowConfig, sweep: Path) -> str:
    """The run of a multirun, which its jobs share: the first of them makes it."""
    with FileLock(sweep / f"{PARENT}.lock", timeout=LOCKED):
        place = read_place(sweep / PARENT, client.uri, config.experiment)
        if place is not None and client.resume(place["run"]):
            return place["run"]
        run = client.create(sweep.name, {"folder": sweep})
        write_json(sweep / PARENT, _place(client, config, run) | {"config": asdict(config)})
        return run


def _place(client: Client, config: MLflowConfig, run: str) -> dict[str, Any]:
    return {"uri": without_credentials(client.uri), "experiment": config.experiment, "run": run}


def read_place(path: Path, uri: str, experiment: str) -> MLflowPlace | None:
    """What the file says; ``None`` if there is none, or, with a warning, if it is of another store or experiment."""
    try:
        place = read_mlflow_place(path)
    except FileNotFoundError:
        return None
    if without_credentials(place["uri"]) == without_credentials(uri) and place["experiment"] == experiment:
        return place
    log.warning(
        "%s is in MLflow already, experiment %s of %s: now a new run is begun, in %s of %s.",
        *(path.parent.name, place["experiment"], without_credentials(place["uri"])),
        *(experiment, without_credentials(uri)),
    )
    return None


def artefacts(folder: Path) -> list[Path]:
    """Files that a run or a multirun left at the top of its folder."""
    files = (path for path in folder.iterdir() if path.is_file() and path.name != PLACE)
    return sorted(path for path in files if not path.name.startswith("."))
