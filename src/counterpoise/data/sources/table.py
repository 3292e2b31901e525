"""A user's own table of texts and labels: JSON lines, CSV, TSV or Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from counterpoise.config.schema import ANY_INTEGER, SEED, Range
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.base import Source, SourceConfig
from counterpoise.data.sources.formats import SUFFIXES, SUFFIXES_SHOWN
from counterpoise.data.sources.labels import any_label, group_of, index_labels, label_of
from counterpoise.data.sources.paths import existing, split_files
from counterpoise.data.sources.reading import (
    Checked,
    Collector,
    Column,
    check_classes,
    plain_text,
    read_checked,
    text,
)
from counterpoise.data.sources.spelling import label_spelling
from counterpoise.data.splits import Shares, grouped, stratified
from counterpoise.errors import Problem, UserError, fail


@dataclass(frozen=True, kw_only=True)
class TableConfig(SourceConfig):
    """Where the table is, what its columns are called, and how it is split."""

    path: str | None = None
    """One file that is split here, or a folder with the files train, valid and perhaps test."""
    train: str | None = None
    """File of the training split, instead of ``path``."""
    valid: str | None = None
    """File of the validation split, instead of ``path``."""
    test: str | None = None
    """File of the test split, if there is one."""
    text_column: str = "text"
    label_column: str = "label"
    group_column: str | None = None
    """Records of one group (author, document, question) never stand in two splits."""
    criterion_column: str | None = None
    """A second text that the first is judged by, such as a question."""
    language: Literal["c", "cpp"] | None = None
    """Programming language of the texts, for models that read code graphs; null for any other text."""
    labels: Annotated[list[str | int | float | bool], ANY_INTEGER] | None = None
    """All labels in the order of the classes; null: those found, integers by number, strings by alphabet. The last of
    two, class 1, is the positive one: precision, recall, F1, PR AUC and the threshold are about it."""
    split: Literal["given", "stratified", "grouped"] | None = None
    """null: given for split files, else grouped if there is a ``group_column``, else stratified."""
    valid_share: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share of the records, if they are split here."""
    test_share: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Share of the records, if they are split here; 0 for no test split."""
    split_seed: Annotated[int, SEED] = 0
    """Fixes the split; apart from ``seed``, so that runs of different seeds are measured on the same records."""

    def problems(self) -> Iterable[Problem]:
        """Settings that contradict each other."""
        yield from self._problems_of_files()
        if self.split == "grouped" and self.group_column is None:
            yield Problem("group_column", "must be given for data.split=grouped.", "Add data.group_column=COLUMN.")
        if self.valid_share + self.test_share >= 1:
            total = self.valid_share + self.test_share
            yield Problem("valid_share", f"and data.test_share add up to {total:g}; nothing is left to train on.")
        if self.text_column == self.label_column:
            yield Problem("label_column", f"is {self.label_column!r}, the same as data.text_column.")
        names = self.class_names()
        if names is not None and len(names) < 2:
            yield Problem("labels", f"must list two classes or more, but lists {len(names)}.")
        if names and "" in names:
            yield Problem("labels", "lists an empty label.")
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            yield Problem("labels", f"lists the label {twice[0]!r} twice.")

    def class_names(self) -> list[str] | None:
        """The ``labels`` as the data's are read; ``None`` where none are given."""
        return None if self.labels is None else [label_spelling(label) or "" for label in self.labels]

    def _problems_of_files(self) -> Iterable[Problem]:
        files = [name for name in ("train", "valid", "test") if getattr(self, name) is not None]
        if self.path is None and not files:
            how = "Add data.path=FILE, data.path=FOLDER, or data.train=FILE data.valid=FILE to the command."
            yield Problem("path", f"must be given: the table to learn from ({SUFFIXES_SHOWN}).", how)
        elif self.path is not None and files:
            yield Problem("path", f"and data.{files[0]} are both given.", "Give one file, or one for each split.")
        elif files:
            for name in ("train", "valid"):
                if name not in files:
                    yield Problem(name, f"must be given where data.{files[0]} is.")
        if files and self.split in ("stratified", "grouped"):
            yield Problem("split", f"is {self.split}, but the files of the splits are given.", "Leave one out.")


class Table(Source):
    """Texts with integer or string labels of two classes or more; the name of a class is its label.

    ``row`` is a running number over the whole data set in reading order; bad records are counted too, so that leaving
    them out changes no other row.
    """

    Config: ClassVar[type[SourceConfig]] = TableConfig

    def __init__(self, config: TableConfig) -> None:
        self._config = config

    def column_names(self) -> dict[str, str]:
        """As configured."""
        config = self._config
        names = {"text": config.text_column, "label": config.label_column, "criterion": config.criterion_column}
        return {name: column for name, column in names.items() if column is not None}

    def load(self) -> Dataset:
        """Read, check and split.

        Raises:
            UserError: with every problem that could be seen, each with file and line.
        """
        config = self._config
        whole, files = self._files()
        collector = Collector(config.on_bad_record)
        columns = self._columns()
        parts = {
            split: read_checked(path, columns, collector, config.max_record_bytes) for split, path in files.items()
        }
        parts, classes = self._classes(parts, collector)
        collector.check()
        records = {split: part.records(classes) for split, part in parts.items()}
        check_classes(records, "data.label_column")
        if whole:
            records = self._split(records["train"])
        kind = self._kind() if whole else "given"
        notes = collector.notes() | {"split": {"kind": kind, "seed": config.split_seed if whole else None}}
        name = Path(config.path or config.train or "").name.split(".")[0] or "table"
        splits = records["train"], records["valid"], records.get("test")
        return Dataset(name, *splits, notes=notes, language=config.language)

    def _files(self) -> tuple[bool, dict[str, Path]]:
        """Whether it is one file for all, and the files by split (``train`` for the whole)."""
        config = self._config
        if config.path is None:
            return False, _explicit({"train": config.train, "valid": config.valid, "test": config.test})
        path = existing(config.path, "data.path")
        if path.is_dir():
            if config.split in ("stratified", "grouped"):
                what = f"is {config.split}, but data.path is a folder with one file for each split."
                raise fail("data.split", what, "Name one file, or leave data.split out.")
            return False, split_files(path, "data.path", SUFFIXES)
        if config.split == "given":
            what = f"is given, but data.path is one file, {config.path!r}."
            raise fail("data.split", what, "Name a folder with one file for each split, or choose stratified.")
        return True, {"train": path}

    def _columns(self) -> dict[str, Column]:
        config = self._config
        longest = config.max_record_bytes
        labels = config.class_names()
        name = config.label_column
        columns = {
            "text": Column(config.text_column, text(config.text_column, longest), "data.text_column"),
            "label": Column(name, label_of(name, labels) if labels else any_label(name), "data.label_column"),
        }
        if (group := config.group_column) is not None:
            columns["group"] = Column(group, group_of(group), "data.group_column")
        if (criterion := config.criterion_column) is not None:
            columns["criterion"] = Column(criterion, plain_text(criterion, longest), "data.criterion_column")
        return columns

    def _classes(self, parts: dict[str, Checked], collector: Collector) -> tuple[dict[str, Checked], tuple[str, ...]]:
        given = self._config.class_names()
        if given is not None:
            return parts, tuple(given)
        classes, parts = index_labels(parts, collector, "data.label_column")
        return parts, classes

    def _kind(self) -> Literal["stratified", "grouped"]:
        wanted = self._config.split
        if wanted is None:
            return "stratified" if self._config.group_column is None else "grouped"
        return "grouped" if wanted == "grouped" else "stratified"

    def _split(self, records: Records) -> dict[str, Records]:
        config = self._config
        shares = Shares(config.valid_share, config.test_share)
        if self._kind() == "grouped":
            groups = records.table["group"].to_pylist()
            split = grouped(groups, records.labels, shares, config.split_seed, classes=records.classes)
        else:
            split = stratified(records.labels, shares, config.split_seed, classes=records.classes)
        named = {"train": records.take(split.train), "valid": records.take(split.valid)}
        return named | ({"test": records.take(split.test)} if shares.test else {})


def _explicit(values: dict[str, str | None]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    for split, value in values.items():
        if value is not None:
            try:
                files[split] = existing(value, f"data.{split}", folder=False)
            except UserError as error:
                problems.extend(error.problems)
    if problems:
        raise UserError(problems)
    return files
