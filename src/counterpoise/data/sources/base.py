"""What every source of records shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from counterpoise.config.schema import AT_LEAST_ONE
from counterpoise.data.records import Dataset


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """What can be chosen for any source."""

    leakage: Literal["warn", "drop", "error"] = "warn"
    """Texts that stand in two splits (white space aside): say so, drop them from the training split, or stop."""
    on_bad_record: Literal["error", "skip"] = "error"
    """A record that cannot be used: stop and list them with file and line, or count, log and leave them out."""
    max_record_bytes: Annotated[int, AT_LEAST_ONE] = 8_000_000
    """Longest text that is taken for a record, in bytes of UTF-8."""


class Source(ABC):
    """Where records come from. A subclass sets ``Config`` and is chosen by ``_target_`` in ``conf/data``."""

    Config: ClassVar[type[SourceConfig]] = SourceConfig

    def column_names(self) -> dict[str, str]:
        """What a table of further records calls its columns, by column of :class:`Records`."""
        return {"text": "text", "label": "label", "criterion": "criterion"}

    @abstractmethod
    def load(self) -> Dataset:
        """Read, check and split.

        Raises:
            UserError: with every problem that could be seen, each with file and line.
        """
