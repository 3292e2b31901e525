"""CodeXGLUE defect detection: C functions that are vulnerable or not (Devign; Zhou et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from counterpoise.data.records import Dataset
from counterpoise.data.sources.base import Source, SourceConfig
from counterpoise.data.sources.labels import zero_or_one
from counterpoise.data.sources.paths import existing, split_files
from counterpoise.data.sources.reading import (
    Checked,
    Collector,
    Column,
    check_classes,
    check_sheet,
    read_checked,
    text,
)
from counterpoise.data.sources.sheet import Sheet
from counterpoise.errors import Problem, fail, missing_extra
from counterpoise.hub import as_reachable

_HUB_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_LOCAL = "Or put train.jsonl, valid.jsonl and perhaps test.jsonl into a folder and set data.path to it."


@dataclass(frozen=True, kw_only=True)
class CodeXGlueConfig(SourceConfig):
    """Where the task is read from."""

    path: str | None = None
    """Folder with train, valid and perhaps test as .jsonl or .jsonl.gz; null takes it from the hub."""
    hub: str | None = "google/code_x_glue_cc_defect_detection"
    """Name on the Hugging Face hub, used if ``path`` is null; needs the extra ``hub``."""

    def problems(self) -> Iterable[Problem]:
        """One of the two places must be named."""
        if self.path is None and self.hub is None:
            yield Problem("path", "must be given where data.hub is null.", "Add data.path=FOLDER to the command.")


class CodeXGlue(Source):
    """Records with ``func`` as text and ``target`` (0 or 1, or false or true) as label.

    ``idx`` is replaced by a running number over train, valid and test; ``project`` is dropped: it would tell the label.
    """

    Config: ClassVar[type[SourceConfig]] = CodeXGlueConfig
    CLASSES: ClassVar[tuple[str, ...]] = ("safe", "vulnerable")

    def __init__(self, config: CodeXGlueConfig) -> None:
        self._config = config

    def column_names(self) -> dict[str, str]:
        """As the task calls them."""
        return {"text": "func", "label": "target"}

    def load(self) -> Dataset:
        """Read the splits as they are given.

        Raises:
            UserError: with every problem that could be seen, each with file and line, or if the hub is out of reach.
        """
        config = self._config
        collector = Collector(config.on_bad_record)
        columns = {
            "text": Column("func", text("func", config.max_record_bytes)),
            "label": Column("target", zero_or_one("target")),
        }
        if config.path is not None:
            parts = self._read_folder(config.path, columns, collector)
        else:
            sheets = _from_hub(config.hub or "", [column.name for column in columns.values()])
            parts = {split: check_sheet(sheet, columns, collector) for split, sheet in sheets.items()}
        collector.check()
        splits = {split: part.records(self.CLASSES) for split, part in parts.items()}
        check_classes(splits, "data.path" if config.path is not None else "data.hub")
        notes = collector.notes()
        return Dataset("codexglue", splits["train"], splits["valid"], splits.get("test"), notes, language="c")

    def _read_folder(self, value: str, columns: Mapping[str, Column], collector: Collector) -> dict[str, Checked]:
        folder = existing(value, "data.path", folder=True)
        files = split_files(folder, "data.path", (".jsonl", ".jsonl.gz"))
        limit = self._config.max_record_bytes
        return {split: read_checked(path, columns, collector, limit) for split, path in files.items()}


def _from_hub(name: str, wanted: list[str]) -> dict[str, Sheet]:
    try:
        import datasets
    except ImportError:
        error = missing_extra("data.hub", "datasets", "hub")
        raise fail("data.hub", error.problems[0].message, f"{error.problems[0].remedy} {_LOCAL}") from None
    try:
        with as_reachable():
            loaded: Mapping[str, Any] = datasets.load_dataset(name)
        sheets = {
            split: _from_columns(f"{name}/{hub_split}", loaded[hub_split], wanted)
            for hub_split, split in _HUB_SPLITS.items()
            if hub_split in loaded
        }
    except Exception as error:  # its network stack raises many unrelated types; all mean: not to be had now
        what = f"{name!r} could not be loaded from the hub ({type(error).__name__}: {error})."
        raise fail("data.hub", what, f"Is the network there? {_LOCAL}") from error
    missing = [split for split in ("train", "valid") if split not in sheets]
    if missing:
        raise fail("data.hub", f"{name!r} has no {' and no '.join(missing)} split.", _LOCAL)
    return sheets


def _from_columns(source: str, table: Any, wanted: list[str]) -> Sheet:
    sheet = Sheet(source, by_row=True, names=dict.fromkeys(table.column_names))
    names = [name for name in wanted if name in sheet.names]
    rows = zip(*(list(table[name]) for name in names), strict=True)
    sheet.entries = [(place, dict(zip(names, row, strict=True))) for place, row in enumerate(rows, start=1)]
    return sheet
