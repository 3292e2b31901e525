"""Amazon CloudWatch: figures of logged updates and epochs as metrics, by model, data and run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from counterpoise.addresses import has_credentials
from counterpoise.errors import Problem
from counterpoise.events import EpochEvent, UpdateEvent
from counterpoise.names import distinct
from counterpoise.run_files import read_metadata
from counterpoise.tracking.base import Tracker, TrackerConfig
from counterpoise.tracking.figures import is_figure, of_epoch, of_update
from counterpoise.tracking.folder import RunFolder

MOST = 1000
"""Metrics in one request."""
LARGEST = 2.0**360
"""CloudWatch takes no value beyond it, and none that is not finite."""
LONGEST = 255
"""Characters of a name; a dimension's value may be longer, but none here is."""


@dataclass(frozen=True, kw_only=True)
class CloudWatchConfig(TrackerConfig):
    """Where metrics go. Credentials are AWS's own affair: environment, shared file, or the machine's role."""

    namespace: str = "counterpoise"
    """What the metrics stand under."""
    region: str | None = None
    """null: as AWS's own settings say."""
    endpoint: str | None = None
    """Address of something that speaks as CloudWatch does; null: AWS."""

    def problems(self) -> Iterable[Problem]:
        """What is wrong with the namespace or the address by itself."""
        if not re.fullmatch(r"[\w.\-/#:]{1,255}", self.namespace, re.ASCII) or self.namespace.startswith("AWS/"):
            expected = "Expected letters, digits and ._-/#:, not beginning with AWS/."
            yield Problem("namespace", f"{self.namespace!r} is none that CloudWatch takes.", expected)
        if has_credentials(self.endpoint or ""):
            remedy = "Credentials are AWS's own affair: environment, shared file, or the machine's role."
            yield Problem("endpoint", "must hold no password: it is kept in the run's files.", remedy)
        elif self.endpoint is not None and not re.match(r"https?://[^/]", self.endpoint):
            yield Problem("endpoint", f"{self.endpoint!r} is no address.", "Expected one such as http://host:4566.")


class CloudWatch(Tracker):
    """Sends figures every few seconds."""

    Config: ClassVar[type] = CloudWatchConfig
    needs: ClassVar[tuple[str, str] | None] = ("boto3", "cloudwatch")

    def __init__(self, config: CloudWatchConfig, folder: Path) -> None:
        super().__init__(config, folder)
        import boto3
        from botocore.config import Config

        bounds = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
        session = boto3.Session(region_name=config.region)
        if session.get_credentials() is None:
            where = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            raise LookupError(f"no AWS credentials were found. {where}")
        if session.region_name is None:
            raise LookupError("no AWS region was found. Set tracker.cloudwatch.region, or AWS_DEFAULT_REGION")
        self._client = session.client("cloudwatch", endpoint_url=config.endpoint, config=bounds)
        chosen: Mapping[str, Any] = read_metadata(RunFolder(folder).metadata).get("config") or {}
        of = {name: chosen[name]["_target_"].rsplit(".", 1)[-1] for name in ("model", "data")} | {"run": folder.name}
        self._dimensions = [{"Name": name, "Value": ascii_name(value)} for name, value in of.items()]
        self._waiting: list[dict[str, Any]] = []

    def on_update(self, event: UpdateEvent) -> None:
        """Take up figures of a logged update."""
        self._add(of_update(event))

    def on_epoch(self, event: EpochEvent) -> None:
        """Take up figures of an epoch."""
        self._add({"epoch": event.epoch, **of_epoch(event)})

    def on_result(self, result: Mapping[str, Any]) -> None:
        """Take up figures of the best epoch."""
        for split in ("valid", "test"):
            figures = result.get(split) or {}
            self._add({f"best/{split}/{name}": value for name, value in figures.items() if is_figure(value)})

    def _add(self, figures: Mapping[str, float]) -> None:
        at = datetime.fromtimestamp(self.now, UTC)
        for name, value in figures.items():
            if math.isfinite(value) and abs(value) <= LARGEST:
                metric = {"MetricName": ascii_name(name), "Value": float(value), "Timestamp": at}
                self._waiting.append(metric | {"Dimensions": self._dimensions})

    def flush(self) -> None:
        """Send what was taken up."""
        while self._waiting:
            self._client.put_metric_data(Namespace=self.config.namespace, MetricData=self._waiting[:MOST])
            del self._waiting[:MOST]

    def on_end(self, status: str) -> None:
        """Send the rest."""
        self.flush()


def ascii_name(text: str) -> str:
    """A name that CloudWatch takes: visible ASCII, not beginning with a colon, neither empty nor too long.

    Where it cannot be all of ``text``, a hash keeps it apart from other names.
    """
    return distinct(re.sub(r"[^ -~]", "_", text).lstrip(": ") or "_", text, LONGEST)
