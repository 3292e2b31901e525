"""Documents as chunks, each of them a vector of a frozen encoder: computed once, and read from a memory-mapped file.

A text that stands in many records, as in pairs of a document and a criterion, is embedded once; so is a criterion. With
an encoder that learns nothing an entry of the cache depends on the texts and not on how they are split: all folds and
all seeds share it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, parse
from counterpoise.data.arrays import read_array
from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Batch, Encoded, Encoding, Learnt
from counterpoise.data.encode.passages import Passages, Unit, cut_texts
from counterpoise.data.encoders.base import TextEncoder, unit_rows
from counterpoise.data.ragged import positions
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import Problem, fail
from counterpoise.jsonio import read_json, to_plain, write_json
from counterpoise.line_console import LineConsole
from counterpoise.run_files import check_names
from counterpoise.typed import Positive, checked

log = logging.getLogger(__name__)

FORMAT = 3
"""Raised whenever the layout of a cache entry changes."""
CHUNKS, OFFSETS, SPANS, COUNTS, CRITERIA = "chunks.npy", "offsets.npy", "spans.npy", "counts.npy", "criteria.npy"
PROPERTIES, ENCODER = "encoding.json", "encoder.json"
"""Files of a cache entry; the last two, and what the encoder has learnt, are kept with the run."""
_TOGETHER = 1024
"""Texts that are handed to the encoder at once."""


_ARRAYS: dict[str, tuple[type[np.generic], int]] = {
    CHUNKS: (np.float32, 2),
    OFFSETS: (np.int64, 1),
    SPANS: (np.int64, 2),
    COUNTS: (np.int64, 2),
    CRITERIA: (np.float32, 2),
}
"""Type and dimensions of each."""


EncoderRecord = TypedDict(
    "EncoderRecord", {"class": str, "versions": NotRequired[Any], "files": NotRequired[dict[str, Any] | None]}
)
"""``encoder.json``, as far as it is looked into."""


class EmbeddingsProperties(TypedDict):
    """``encoding.json`` of embeddings."""

    size: Positive
    criteria: bool
    encoder: str
    chunks: dict[str, Any]
    files: list[str]


@dataclass(frozen=True, kw_only=True)
class EmbeddingsConfig:
    """How documents are cut."""

    unit: Unit = "words"
    """What chunks are made of: so many words, or sentences that have so many words together."""
    window: Annotated[int, AT_LEAST_ONE] = 16
    """Longest chunk in words."""
    overlap: Annotated[int, NON_NEGATIVE] = 8
    """Words that a chunk shares with the one before (unit=words only)."""
    max_chunks: Annotated[int, AT_LEAST_ONE] = 512
    """Most chunks of a document; what is behind them is cut, and counted."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        if self.overlap >= self.window:
            yield Problem("overlap", f"must be less than window={self.window}, but is {self.overlap}.")
        if self.unit == "sentences" and self.overlap:
            yield Problem("overlap", "has no effect with unit=sentences.", "Add encoding.overlap=0.")


@dataclass(frozen=True)
class Columns:
    """The embeddings of all texts of a data set, whatever the split."""

    chunks: NDArray[np.float32]
    """Vectors of all chunks, one text after the other, ``[K, D]``; memory-mapped, of length 1 or zero."""
    offsets: NDArray[np.int64]
    """Chunks ``offsets[i] : offsets[i + 1]`` are those of text ``i``, ``[U + 1]``."""
    spans: NDArray[np.int64]
    """First character of each chunk in its text and the one behind the last, ``[K, 2]``."""
    counts: NDArray[np.int64]
    """Of each text: words, words in no chunk, tokens that the encoder could not read, ``[U, 3]``."""
    criteria: NDArray[np.float32]
    """Vectors of all criteria, ``[C, D]``; none where records have no criterion."""


@dataclass(frozen=True)
class EmbeddingSplit:
    """One split; many of its records may be of one text."""

    columns: Columns
    texts: NDArray[np.int64]
    """Which text each record is of, ``[N]``."""
    criteria: NDArray[np.int64] | None
    """Which criterion each record asks about, ``[N]``; ``None`` where there are none."""
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Chunks per record, ``[N]``."""
        return np.diff(self.columns.offsets)[self.texts]

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """``chunks [B, L, D]`` float32, zero behind ``lengths [B]``; with criteria also ``criterion [B, D]``."""
        columns, texts = self.columns, self.texts[indices]
        where, own = positions(columns.offsets, texts)
        lengths = np.diff(own)
        width = int(lengths.max(initial=0))
        chunks = np.zeros((len(texts), width, columns.chunks.shape[1]), np.float32)
        chunks[np.arange(width) < lengths[:, None]] = columns.chunks[where]
        inputs = {"chunks": torch.from_numpy(chunks), "lengths": torch.from_numpy(lengths)}
        if self.criteria is not None:
            inputs["criterion"] = torch.from_numpy(columns.criteria[self.criteria[indices]])
        return Batch(inputs, torch.from_numpy(self.labels[indices]), torch.from_numpy(self.rows[indices]))

    def spans(self, index: int) -> NDArray[np.int64]:
        """Where the chunks of one record stand in its text: first character and the one behind the last, ``[L, 2]``."""
        text = self.texts[index]
        return self.columns.spans[self.columns.offsets[text] : self.columns.offsets[text + 1]]


class Embeddings(Encoding):
    """Chunks of every text, and every criterion, as vectors of length 1."""

    Config: ClassVar[type] = EmbeddingsConfig
    kind: ClassVar[str] = "embeddings"
    needs_encoder: ClassVar[bool] = True

    def __init__(self, config: EmbeddingsConfig, encoder: TextEncoder) -> None:
        self.config = config
        self.encoder = encoder

    def check(self, dataset: Dataset) -> None:
        """Raises ``UserError`` for records that are no texts."""
        if not dataset.train.has("text"):
            what = f"{dataset.name} holds graphs, no texts that could be embedded."
            raise fail("encoding", what, "Choose a model that reads graphs: model=gnn.")
        self.encoder.check()
        if self.encoder.fitted:
            self.encoder.check_learnable(self._learnt_chunks(dataset.train))

    def _learnt_chunks(self, train: Records) -> Iterator[str]:
        """What the encoder will learn from, in another order, cut as it is asked for."""
        yield from sorted(set(_criteria(train)))
        texts, config = sorted(set(train.texts)), self.config
        for start in range(0, len(texts), _TOGETHER):
            part = texts[start : start + _TOGETHER]
            passages = cut_texts(part, config.unit, config.window, config.overlap, config.max_chunks)
            yield from _passages_of(part, passages)

    def encode(self, dataset: Dataset, cache: Cache) -> Encoded:
        """Cut and embed all texts, or open what has been embedded before.

        Raises:
            UserError: if the encoder cannot be loaded, or cannot learn from these texts.
        """
        splits = dataset.splits().values()
        texts = sorted({text for records in splits for text in records.texts})
        criteria = sorted({criterion for records in splits for criterion in _criteria(records)})
        key: dict[str, Any] = {
            "format": FORMAT,
            "texts": _checksum(texts),
            "criteria": _checksum(criteria),
            "chunks": asdict(self.config),
            "encoder": self.encoder.key(),
            "fitted_on": _checksum(_learnt_from(dataset.train)) if self.encoder.fitted else None,
        }
        work = _Work(self.config, self.encoder, key["encoder"], texts, criteria)
        columns, properties = cache.read("embeddings", key, partial(work.build, dataset.train), work.read)
        return self._encoded(dataset, work, columns, properties)

    def learnt(self, folder: Path) -> Learnt:
        """How a run cut its texts, and the encoder that it embedded them by."""
        properties = read_properties(folder / PROPERTIES)
        chunks = parse(EmbeddingsConfig, properties["chunks"])

        def apply(records: Records) -> EmbeddingSplit:
            if properties["criteria"] and not records.has("criterion"):
                raise fail("input", "has no criterion, which this run judges every text by.", "Give each text one.")
            _check_encoder(read_json(folder / ENCODER), self.encoder.key())
            if self.encoder.fitted:
                self.encoder.load(folder)
            texts = sorted(set(records.texts))
            criteria = sorted(set(_criteria(records))) if properties["criteria"] else []
            return _split_of(records, texts, criteria, _columns(self.encoder, texts, criteria, chunks))

        return Learnt(properties, apply)

    def _encoded(self, dataset: Dataset, work: _Work, columns: Columns, properties: Mapping[str, Any]) -> Encoded:
        splits, notes = {}, {}
        for name, records in dataset.splits().items():
            splits[name] = _split_of(records, work.texts, work.criteria, columns)
            notes[name] = _notes(columns, splits[name].texts)
        _warn_of_blind_criteria(work, columns)
        artefacts = {name: work.folder / name for name in [PROPERTIES, ENCODER, *properties["files"]]}
        return Encoded(splits, properties, artefacts, {"embeddings": notes})


class _Work:
    """The making and the opening of one cache entry."""

    folder: Path

    def __init__(
        self,
        config: EmbeddingsConfig,
        encoder: TextEncoder,
        encoder_key: Mapping[str, Any],
        texts: Sequence[str],
        criteria: Sequence[str],
    ) -> None:
        self.config = config
        self.encoder = encoder
        self.encoder_key = encoder_key
        self.texts = texts
        self.criteria = criteria

    def build(self, train: Records, folder: Path) -> None:
        """Fit the encoder where it learns something, then embed everything."""
        config = self.config
        cut = partial(cut_texts, unit=config.unit, window=config.window, overlap=config.overlap)
        files: list[str] = []
        if self.encoder.fitted:
            learnt_from = sorted(set(train.texts))
            passages = cut(learnt_from, maximum=config.max_chunks)
            # The words of a criterion count too: one without any known word would be no vector at all.
            self.encoder.fit([*_passages_of(learnt_from, passages), *sorted(set(_criteria(train)))])
            files = self.encoder.save(folder)
            self.encoder.load(folder)  # as everybody will who embeds new input
        passages = cut(self.texts, maximum=config.max_chunks)
        unread = self._embed(_passages_of(self.texts, passages), folder / CHUNKS)
        self._embed(self.criteria, folder / CRITERIA)
        lost = np.add.reduceat(unread, passages.offsets[:-1]) if len(unread) else unread
        np.save(folder / OFFSETS, passages.offsets, allow_pickle=False)
        np.save(folder / SPANS, passages.spans, allow_pickle=False)
        np.save(folder / COUNTS, np.stack([passages.words, passages.cut, lost], axis=1), allow_pickle=False)
        write_json(folder / ENCODER, self.encoder_key)
        properties = {
            "size": self.encoder.size,
            "criteria": bool(self.criteria),
            "encoder": type(self.encoder).__name__,
            "chunks": asdict(config),
            "files": files,
        }
        write_json(folder / PROPERTIES, properties)

    def _embed(self, texts: Sequence[str], path: Path) -> NDArray[np.int64]:
        """Write the vectors of ``N`` texts, and return how many tokens of each were not read, ``[N]``."""
        shape = (len(texts), self.encoder.size)
        if not texts:
            np.save(path, np.zeros(shape, np.float32), allow_pickle=False)
            return np.zeros(0, np.int64)
        column = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        _claim(path)
        unread = np.zeros(len(texts), np.int64)
        for own in _parts(self.encoder, texts):
            column[own] = unit_rows(self.encoder.encode(texts[own]))
            unread[own] = self.encoder.unread(texts[own])
        column.flush()
        return unread

    def read(self, folder: Path) -> tuple[Columns, dict[str, Any]]:
        """Raises ``ValueError`` or the like for whatever is not as :meth:`build` leaves it."""
        self.folder = folder
        properties = read_properties(folder / PROPERTIES)
        opened: dict[str, NDArray[Any]] = {
            name: read_array(folder / name, (kind,), ndim, mapped=name == CHUNKS)
            for name, (kind, ndim) in _ARRAYS.items()
        }
        columns = Columns(opened[CHUNKS], opened[OFFSETS], opened[SPANS], opened[COUNTS], opened[CRITERIA])
        _check(columns, len(self.texts), len(self.criteria), properties["size"])
        if self.encoder.fitted:
            self.encoder.load(folder)
        return columns, properties


def _parts(encoder: TextEncoder, texts: Sequence[str]) -> Iterator[slice]:
    """Texts that are handed to the encoder together, under a bar."""
    for start in _progress(range(0, len(texts), _TOGETHER), f"{type(encoder).__name__} embeds chunks"):
        yield slice(start, start + _TOGETHER)


def _columns(encoder: TextEncoder, texts: Sequence[str], criteria: Sequence[str], config: EmbeddingsConfig) -> Columns:
    """The embeddings of new texts, in memory; without counts."""
    passages = cut_texts(texts, config.unit, config.window, config.overlap, config.max_chunks)

    def vectors(of: Sequence[str]) -> NDArray[np.float32]:
        parts = [unit_rows(encoder.encode(of[own])) for own in _parts(encoder, of)]
        return np.concatenate(parts) if parts else np.zeros((0, encoder.size), np.float32)

    chunks = vectors(_passages_of(texts, passages))
    return Columns(chunks, passages.offsets, passages.spans, np.zeros((len(texts), 3), np.int64), vectors(criteria))


def _split_of(records: Records, texts: Sequence[str], criteria: Sequence[str], columns: Columns) -> EmbeddingSplit:
    """Records whose texts and criteria the columns are of, in the order of these."""
    places = {text: place for place, text in enumerate(texts)}
    asked = {criterion: place for place, criterion in enumerate(criteria)}
    own = np.array([places[text] for text in records.texts], np.int64)
    about = np.array([asked[each] for each in _criteria(records)], np.int64) if asked else None
    return EmbeddingSplit(columns, own, about, records.labels, records.rows)


def _check_encoder(kept: object, now: Mapping[str, Any]) -> None:
    """Hold the encoder against the one that a run was trained with; another version or device may round differently.

    Raises:
        UserError: if it is another class, has other settings, or reads other files; a ``ValueError`` if what was kept
            is no such record.
    """
    before: dict[str, Any] = {**checked(EncoderRecord, kept, ENCODER)}
    after: dict[str, Any] = to_plain(now)
    rounding = [each.pop("versions", None) for each in (before, after)]
    rounding_by_device = [(each.get("files") or {}).pop("device", None) for each in (before, after)]
    if before != after:
        what = "is not the one that this run was trained with: its class, settings or files differ."
        raise fail("encoder", what, "Bring it back as it was.")
    if rounding[0] != rounding[1] or rounding_by_device[0] != rounding_by_device[1]:
        log.warning("The encoder has another version or device than in training: it may round differently.")


def read_properties(path: Path) -> dict[str, Any]:
    """What a model over embeddings must know. Raises ``OSError``, or ``ValueError`` for what is no such file."""
    properties = checked(EmbeddingsProperties, read_json(path), path.name)
    check_names(f"{path.name}.files", properties["files"])
    return dict(properties)


def _check(columns: Columns, texts: int, criteria: int, size: int) -> None:
    offsets, total = columns.offsets, len(columns.chunks)
    if offsets.shape != (texts + 1,) or offsets[0] != 0 or offsets[-1] != total or np.any(np.diff(offsets) < 1):
        raise ValueError(f"{OFFSETS} does not give every text its chunks")
    shapes: dict[str, tuple[NDArray[Any], tuple[int, int]]] = {
        CHUNKS: (columns.chunks, (total, size)),
        SPANS: (columns.spans, (total, 2)),
        COUNTS: (columns.counts, (texts, 3)),
        CRITERIA: (columns.criteria, (criteria, size)),
    }
    for name, (column, shape) in shapes.items():
        if column.shape != shape:
            raise ValueError(f"{name} is {list(column.shape)}, not {list(shape)}")


def _warn_of_blind_criteria(work: _Work, columns: Columns) -> None:
    """A criterion that the encoder knows no word of is the zero vector, whatever it says."""
    blind = [work.criteria[place] for place in np.flatnonzero(~columns.criteria.any(axis=1)).tolist()]
    if blind:
        log.warning(
            "The encoder knows no word of %d of %d criteria, %r for one: a model cannot tell what they ask for. "
            "Write them out, or choose encoder=hashing or a pretrained one.",
            *(len(blind), len(work.criteria), blind[0]),
        )


def _criteria(records: Records) -> list[str]:
    return [each or "" for each in records.table["criterion"].to_pylist()] if records.has("criterion") else []


def _learnt_from(train: Records) -> list[str]:
    return [*sorted(set(train.texts)), *sorted(set(_criteria(train)))]


def _checksum(texts: Sequence[str]) -> str:
    """Hash of texts in their order; where one ends and the next begins counts."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _passages_of(texts: Sequence[str], passages: Passages) -> list[str]:
    owners = np.repeat(np.arange(len(texts)), np.diff(passages.offsets)).tolist()
    return [texts[owner][start:end] for owner, (start, end) in zip(owners, passages.spans.tolist(), strict=True)]


def _notes(columns: Columns, texts: NDArray[np.int64]) -> dict[str, Any]:
    """Counts over the records of a split."""
    chunks, (words, cut, unread) = np.diff(columns.offsets)[texts], columns.counts[texts].T
    return {
        "samples": len(texts),
        "texts": len(np.unique(texts)),
        "median_chunks": float(np.median(chunks)) if len(chunks) else 0.0,
        "most_chunks": int(chunks.max(initial=0)),
        "truncated_samples": int((cut > 0).sum()),
        "truncated_words_share": float(cut.sum() / words.sum()) if words.sum() else 0.0,
        "samples_with_unread_tokens": int((unread > 0).sum()),
        "unread_tokens": int(unread.sum()),
    }


def _claim(path: Path) -> None:
    """Make the disk keep room for a file: one that fills up later would kill the process instead of raising."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _progress(starts: Sequence[int], what: str) -> Iterator[int]:
    """A bar on a terminal, from the second part on."""
    shown = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = LineConsole(stderr=True)
    hidden = not console.is_terminal or len(starts) < 2
    with Progress(*shown, console=console, transient=True, disable=hidden) as progress:
        yield from progress.track(starts, description=what)
