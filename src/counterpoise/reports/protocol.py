"""The stability protocol: criteria that a run must meet, judged on its own files when it has ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from counterpoise.config.schema import AT_LEAST_ONE, SHARE
from counterpoise.errors import Problem, fail
from counterpoise.jsonio import to_plain
from counterpoise.paths import user_path
from counterpoise.reports import criteria
from counterpoise.reports.criteria import Criterion
from counterpoise.reports.reference import WHERE, Reference, open_reference
from counterpoise.reports.runs import RunRecord, read_run

HALF = ("bf16", "fp16")
"""The number formats of mixed precision."""


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig:
    """What a run must show. A criterion that is null or false is not asked; without any there is no protocol."""

    name: str = "protocol"
    """Title of the table."""
    epochs: Annotated[int, AT_LEAST_ONE] | None = None
    """Least epochs trained."""
    from_epoch: Annotated[int, AT_LEAST_ONE] = 1
    """The first epoch (one-based) that the next two look at."""
    f1_above: Annotated[float, SHARE] | None = None
    """Validation F1 of every epoch, of the positive class, or the macro average of more than two classes."""
    every_class: bool = False
    """Every class that the validation split holds is predicted in every epoch."""
    least_share: Annotated[float, SHARE] | None = None
    """In every epoch from ``shares_from`` on each class is predicted at least at this part of its own share; 0.8 of two
    equally frequent classes is 40 to 60 % each."""
    shares_from: Annotated[int, AT_LEAST_ONE] = 1
    """The first epoch (one-based) whose shares are judged."""
    finite: bool = False
    """No loss, of a logged update or of an epoch, is NaN or infinite."""
    no_alarms: bool = False
    """The guards saw nothing, not even what they only warn about."""
    skipped_share: Annotated[float, SHARE] | None = None
    """Largest share of updates that were left out: not finite, or skipped by the gradient scaler of fp16."""
    test_gap: Annotated[float, SHARE] | None = None
    """Largest distance of accuracy, F1 and the objective's metric on test from validation."""
    above_baselines: bool = False
    """The objective's metric beats every baseline's, on the test split where there is one."""
    amp: bool = False
    """The run computed in bf16 or fp16 from beginning to end."""
    f1_gap: Annotated[float, SHARE] | None = None
    """Largest distance of validation F1 from the reference run's."""
    reference: str | None = None
    """Folder of the same run in full precision; its speed is shown beside, and never judged."""

    @property
    def active(self) -> bool:
        """Whether anything is asked."""
        asides = {name: getattr(self, name) for name in ("name", "from_epoch", "shares_from", "reference")}
        return self != ProtocolConfig(**asides)

    def problems(self) -> Iterator[Problem]:
        """A reference that nothing is compared with."""
        if self.reference is not None and self.f1_gap is None:
            yield Problem("reference", "has no effect without protocol.f1_gap.", "Example: protocol.f1_gap=0.02.")
        if self.from_epoch > 1 and self.f1_above is None and not self.every_class:
            yield Problem("from_epoch", "has no effect without f1_above or every_class.")
        if self.shares_from > 1 and self.least_share is None:
            yield Problem("shares_from", "has no effect without least_share.")


@dataclass(frozen=True)
class Protocol:
    """A run's protocol, open for judgement."""

    config: ProtocolConfig
    reference: Reference | None = None

    def judge(self, record: RunRecord) -> list[Criterion]:
        """Every criterion that the config asks, in the order of a run's life; empty if it asks none."""
        if not self.config.active:
            return []
        asked = self.config
        found = [
            criteria.ended(record),
            None if asked.epochs is None else criteria.epochs(asked.epochs, record),
            None if asked.f1_above is None else criteria.f1(asked.f1_above, record, asked.from_epoch),
            criteria.every_class(record, asked.from_epoch) if asked.every_class else None,
            None if asked.least_share is None else criteria.least_share(asked.least_share, record, asked.shares_from),
            criteria.finite_losses(record) if asked.finite else None,
            criteria.no_alarms(record) if asked.no_alarms else None,
            None if asked.skipped_share is None else criteria.skipped(asked.skipped_share, record),
            None if asked.test_gap is None else criteria.test_gap(asked.test_gap, record),
            criteria.above_baselines(record) if asked.above_baselines else None,
            criteria.mixed_precision(record) if asked.amp else None,
        ]
        if asked.f1_gap is not None:
            found += criteria.beside_reference(asked.f1_gap, record, self.reference)
        return [criterion for criterion in found if criterion is not None]

    def of_result(self, folder: Path, result: Mapping[str, Any]) -> dict[str, Any] | None:
        """The entry ``protocol`` of ``result.json``, before that is written; ``None`` where nothing is asked."""
        return self._entry(dataclasses.replace(read_run(folder), result=to_plain(result), failure={}))

    def of_failure(self, folder: Path, message: str) -> dict[str, Any] | None:
        """The same for a run that was aborted before it had a result."""
        failure = {"status": "aborted", "message": message}
        return self._entry(dataclasses.replace(read_run(folder), result={}, failure=failure))

    def _entry(self, record: RunRecord) -> dict[str, Any] | None:
        found = self.judge(record)
        if not found:
            return None
        passed = all(criterion.passed is not False for criterion in found)
        return {"name": self.config.name, "passed": passed, "criteria": to_plain(found)}


def open_protocol(config: ProtocolConfig, now: Mapping[str, Any]) -> Protocol:
    """Make sure, before anything is trained, that the protocol can be judged.

    Args:
        config: what is asked.
        now: ``config``, ``plan``, ``data_fingerprint`` and, where it has some, ``branches`` of the run, in plain
            values.

    Raises:
        UserError: if mixed precision is asked of a run without, or the reference is no such run in full precision.
    """
    precision = now["plan"]["precision"]
    if config.amp and precision not in HALF:
        raise fail(
            "hardware.precision",
            f"is {precision}, but protocol.amp is there to check bf16 or fp16.",
            "hardware.precision=bf16 computes in it on any device, slowly where it is emulated.",
        )
    if config.reference is None:
        return Protocol(config)
    return Protocol(config, open_reference(user_path(config.reference, WHERE), now))
