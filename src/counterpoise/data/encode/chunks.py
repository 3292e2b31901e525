"""Long documents as chunks: windows of token ids, each with the tokenizer's own special tokens around it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tokenizers import Encoding as Tokenized
from tokenizers import Tokenizer, models

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, Range
from counterpoise.data.cache import Cache
from counterpoise.data.chunks import Windows, cut_windows
from counterpoise.data.encode.base import Batch, Encoded, Encoding, Learnt
from counterpoise.data.encode.tokenizer import (
    NOTES,
    PROPERTIES,
    TOKENIZER,
    Given,
    Length,
    TokenProperties,
    batches_of,
    cache_key,
    check_ids,
    check_texts,
    check_tokenizer,
    open_columns,
    open_pretrained,
    read_column,
    settle_tokenizer,
    whole_tokenizer,
    write_columns,
)
from counterpoise.data.ragged import Ragged, positions
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import Problem, fail
from counterpoise.jsonio import read_json, write_json
from counterpoise.typed import Count, checked

log = logging.getLogger(__name__)

FORMAT = 2
"""Raised whenever the layout of a cache entry changes."""
NOTABLE = 0.05
"""Share of a split's tokens from which on the user is told that they are not read."""


@dataclass(frozen=True, kw_only=True)
class ChunksConfig:
    """How a text becomes chunks of token ids."""

    pretrained: str | None = None
    """A Hugging Face tokenizer by name or local folder; null trains a byte-level BPE on the training split."""
    vocab_size: Annotated[int, Range(ge=300, le=1_000_000)] = 4096
    """Largest vocabulary of the BPE that is trained here; 256 bytes and four special tokens always stand in it."""
    window: Annotated[int, Range(ge=8)] = 512
    """Longest chunk in tokens, its special tokens included."""
    overlap: Annotated[int, NON_NEGATIVE] = 0
    """Tokens that a chunk shares with the one before."""
    max_chunks: Annotated[int, AT_LEAST_ONE] = 20
    """Most chunks of a document; what stands behind them is not read, and is counted."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        frame = 2 if self.pretrained is None else 0  # a tokenizer from elsewhere is asked when it is loaded
        if self.overlap >= self.window - frame:
            room = f"window={self.window}" + (", of which two tokens are special" if frame else "")
            yield Problem("overlap", f"must be less than {room}, but is {self.overlap}.")


class Frame(NamedTuple):
    """The special tokens that a tokenizer puts around a single sequence."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.prefix) + len(self.suffix)


def frame_of(tokenizer: Tokenizer) -> Frame:
    """What stands before and behind a sequence's own tokens, e.g. CLS and SEP."""
    # A sequence of one token that is no special one, whatever the tokenizer's own vocabulary.
    one = Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).encode("a")
    framed = tokenizer.post_process(one, None, True)
    (own,) = np.flatnonzero(np.asarray(framed.special_tokens_mask) == 0)
    return Frame(tuple(framed.ids[:own]), tuple(framed.ids[own + 1 :]))


@dataclass(frozen=True)
class ChunkSplit:
    """One split as chunks of token ids."""

    ids: Ragged
    """Content of each document, without special tokens, as far as it stands in a chunk."""
    characters: Ragged
    """Where its chunks stand in its text: first character and the one behind the last, of one chunk after the other."""
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    pad_id: int
    frame: Frame
    window: int
    """Longest chunk, special tokens included."""
    overlap: int

    @cached_property
    def windows(self) -> Windows:
        """The chunks of all documents, special tokens aside."""
        return cut_windows(self.ids.lengths, self.window - self.frame.size, self.overlap)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Tokens of every chunk, special ones included, ``[K]``; one of nothing at all is a single padding token."""
        sizes: NDArray[np.int64] = np.maximum(self.windows.ends - self.windows.starts + self.frame.size, 1)
        return sizes

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document's chunks together, ``[N]``: what it costs."""
        lengths: NDArray[np.int64] = np.add.reduceat(self.sizes, self.windows.offsets[:-1])
        return lengths

    @cached_property
    def _begins(self) -> NDArray[np.int64]:
        """Where each chunk's content begins among all ids, ``[K]``."""
        return self.windows.starts + np.repeat(self.ids.offsets[:-1], np.diff(self.windows.offsets))

    def spans(self, index: int) -> NDArray[np.int64]:
        """Where the chunks of one document stand in its text, in characters, ``[L, 2]``."""
        return self.characters[index].reshape(-1, 2)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The ``K`` chunks of all documents at ``indices [B]``, one document after the other.

        ``ids [K, L]``, padded to the longest chunk, ``lengths [K]`` of the chunks, and ``counts [B]`` of chunks of each
        document; all int64.
        """
        chunks, offsets = positions(self.windows.offsets, indices)
        inputs = {"ids": self._framed(chunks), "lengths": self.sizes[chunks], "counts": np.diff(offsets)}
        tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
        return Batch(tensors, torch.from_numpy(self.labels[indices]), torch.from_numpy(self.rows[indices]))

    def _framed(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ids of chunks ``[K]`` with their special tokens, ``[K, L]``."""
        contents = self.windows.ends[chunks] - self.windows.starts[chunks]
        width, before = int(contents.max()), len(self.frame.prefix)
        framed = np.full((len(chunks), int(self.sizes[chunks].max())), self.pad_id, np.int64)
        framed[:, :before] = self.frame.prefix
        columns = np.arange(width)
        inside = columns < contents[:, None]
        framed[:, before : before + width][inside] = self.ids.values[(self._begins[chunks][:, None] + columns)[inside]]
        behind = before + contents[:, None] + np.arange(len(self.frame.suffix))
        framed[np.arange(len(chunks))[:, None], behind] = self.frame.suffix
        return framed


class Chunks(Encoding):
    """Windows of token ids, at most ``max_chunks`` of a document, each framed as a sequence of its own."""

    Config: ClassVar[type] = ChunksConfig
    kind: ClassVar[str] = "chunks"

    def __init__(self, config: ChunksConfig) -> None:
        self.config = config

    @classmethod
    def sample_tokens(cls, config: ChunksConfig) -> int:
        """Tokens of a document that fills all its chunks."""
        return config.window * config.max_chunks

    def check(self, dataset: Dataset) -> None:
        """Raises ``UserError`` for records that are no texts."""
        check_texts(dataset)

    def encode(self, dataset: Dataset, cache: Cache) -> Encoded:
        """Train or load the tokenizer, cut and encode all splits; both are cached.

        Raises:
            UserError: if the pretrained tokenizer cannot be found, or has no padding token, or if its special tokens
                and the overlap leave no room in a window.
        """
        given = None if self.config.pretrained is None else open_pretrained(self.config.pretrained)
        key = cache_key(FORMAT, dataset, asdict(self.config), given)
        encoded = cache.read("chunks", key, partial(self._build, dataset, given), partial(self._read, dataset))
        self._warn(encoded.notes["chunks"]["train"])
        return encoded

    def learnt(self, folder: Path) -> Learnt:
        """The tokenizer and the windows of a run."""
        properties = read_chunk_properties(folder / PROPERTIES)
        tokenizer, _ = check_tokenizer(folder / TOKENIZER, properties)

        def apply(records: Records) -> ChunkSplit:
            with whole_tokenizer(TOKENIZER):
                columns, _ = chunk_texts(tokenizer, records.texts, properties)
                frame = frame_of(tokenizer)
            check_ids(columns["ids"], properties["vocab_size"], len(columns["ids"].values))
            _check_frame(frame, properties)
            return _split_of(columns, records, frame, properties)

        return Learnt(properties, apply)

    def _build(self, dataset: Dataset, given: Given | None, folder: Path) -> None:
        settled = settle_tokenizer(folder, dataset.train, self.config.vocab_size, given)
        properties = self._properties(settled)
        notes = {}
        for name, split in dataset.splits().items():
            columns, notes[name] = chunk_texts(settled.tokenizer, split.texts, properties)
            write_columns(folder / f"{name}.arrow", columns)
        write_json(folder / PROPERTIES, properties)
        write_json(folder / NOTES, notes)

    def _properties(self, tokenizer: Given) -> dict[str, Any]:
        return {
            **tokenizer.properties,
            "max_length": self.config.window,
            "window": self.config.window,
            "overlap": self.config.overlap,
            "max_chunks": self.config.max_chunks,
            "pretrained": self.config.pretrained,
        }

    def _read(self, dataset: Dataset, folder: Path) -> Encoded:
        """Raises ``ValueError`` or the like for whatever is not as :meth:`_build` leaves it."""
        properties, notes = read_chunk_properties(folder / PROPERTIES), dict(read_json(folder / NOTES))
        tokenizer = check_tokenizer(folder / TOKENIZER, properties)
        if properties != self._properties(tokenizer):
            raise ValueError(f"{PROPERTIES} is that of other settings")
        splits = {
            name: _read_split(
                open_columns(folder / f"{name}.arrow", len(split)), split, tokenizer.tokenizer, properties
            )
            for name, split in dataset.splits().items()
        }
        artefacts = {name: folder / name for name in (TOKENIZER, PROPERTIES)}
        return Encoded(splits, properties, artefacts, {"chunks": notes})

    def _warn(self, notes: Mapping[str, Any]) -> None:
        if notes["cut_tokens_share"] >= NOTABLE:
            log.warning(
                "%.0f %% of the training split's tokens are not read: %d of its %d documents are longer than "
                "encoding.max_chunks=%d chunks of encoding.window=%d tokens.",
                100 * notes["cut_tokens_share"],
                *(notes["cut_samples"], notes["samples"], self.config.max_chunks, self.config.window),
            )


class ChunkProperties(TokenProperties):
    """``encoding.json`` of chunks."""

    window: Length
    overlap: Count
    max_chunks: Length


def read_chunk_properties(path: Path) -> dict[str, Any]:
    """What a model over chunks must know. Raises ``OSError``, or ``ValueError`` for what is no such file."""
    return dict(checked(ChunkProperties, read_json(path), path.name))


def _check_frame(frame: Frame, properties: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` if special tokens are none of the vocabulary's."""
    if any(not 0 <= token < properties["vocab_size"] for token in (*frame.prefix, *frame.suffix)):
        raise ValueError("there are other tokens than the tokenizer's")


def chunk_texts(
    tokenizer: Tokenizer, texts: Sequence[str], properties: Mapping[str, Any]
) -> tuple[dict[str, Ragged], dict[str, Any]]:
    """Cut and encode texts.

    Args:
        tokenizer: as :func:`counterpoise.data.encode.tokenizer.load_tokenizer` gives it.
        texts: ``N`` of them.
        properties: ``window``, ``overlap`` and ``max_chunks``.

    Returns:
        the columns ``ids`` and ``characters`` of a :class:`ChunkSplit`, and counts of chunks and of what was cut.

    Raises:
        UserError: if special tokens and overlap leave no room in a window.
    """
    cut = _cut_of(frame_of(tokenizer), properties)
    ids: list[NDArray[np.int32]] = []
    characters: list[NDArray[np.int64]] = []
    lengths: list[int] = []
    for batch in batches_of(list(texts)):
        tokenized = tokenizer.encode_batch(batch, add_special_tokens=False)
        sizes = np.array([len(one) for one in tokenized], np.int64)
        windows = cut(sizes)
        for number, (one, text) in enumerate(zip(tokenized, batch, strict=True)):
            own = slice(windows.offsets[number], windows.offsets[number + 1])
            ids.append(np.asarray(one.ids[: sizes[number] - windows.cut[number]], np.int32))
            characters.append(_characters(one, text, windows.starts[own], windows.ends[own]))
        lengths += sizes.tolist()
    columns = {"ids": Ragged.from_items(ids), "characters": Ragged.from_items(characters, np.int64)}
    return columns, _counts(np.array(lengths, np.int64), cut)


def _cut_of(frame: Frame, properties: Mapping[str, Any]) -> partial[Windows]:
    """How lengths without special tokens are cut into windows."""
    window, overlap = properties["window"] - frame.size, properties["overlap"]
    if window <= overlap:
        what = f"a window of {properties['window']} tokens, {frame.size} of them special, has no room behind {overlap}."
        raise fail("encoding.overlap", what, "Give less overlap, or a larger window.")
    return partial(cut_windows, window=window, overlap=overlap, maximum=properties["max_chunks"])


def _characters(
    tokenized: Tokenized, text: str, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """First character of each chunk ``[L]`` and the one behind its last, in turn, ``[2 L]``.

    Characters that belong to no token, white space say, are part of the chunk in front of them. One that is cut
    between two chunks, its bytes being tokens of their own, is part of both.
    """

    def of(token: int) -> tuple[int, int]:
        found = tokenized.token_to_chars(token)
        assert found is not None, "only special tokens stand nowhere in the text, and there are none"
        return found

    spans = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        first = of(start)[0] if start else 0
        last = max(of(end - 1)[1], of(end)[0]) if end < len(tokenized) else len(text)
        spans += [first, max(first, last)]
    return np.array(spans, np.int64)


def _counts(lengths: NDArray[np.int64], cut: partial[Windows]) -> dict[str, Any]:
    """What is worth knowing of documents of ``lengths [N]`` in tokens, JSON-ready."""
    windows = cut(lengths)
    chunks = np.diff(windows.offsets)
    return {
        "samples": len(lengths),
        "median_tokens": float(np.median(lengths)) if len(lengths) else 0.0,
        "longest_tokens": int(lengths.max(initial=0)),
        "chunks": int(chunks.sum()),
        "median_chunks": float(np.median(chunks)) if len(chunks) else 0.0,
        "most_chunks": int(chunks.max(initial=0)),
        "cut_samples": int((windows.cut > 0).sum()),
        "cut_tokens_share": float(windows.cut.sum() / max(int(lengths.sum()), 1)),
    }


def _read_split(table: pa.Table, split: Records, tokenizer: Tokenizer, properties: Mapping[str, Any]) -> ChunkSplit:
    """Raises ``ValueError`` if ids are none of the tokenizer's, or chunks are not those of the ids."""
    columns = {name: read_column(table, name) for name in ("ids", "characters")}
    ids, characters, frame = columns["ids"], columns["characters"], frame_of(tokenizer)
    cut = _cut_of(frame, properties)
    check_ids(ids, properties["vocab_size"], len(ids.values))
    _check_frame(frame, properties)
    windows = cut(ids.lengths)
    if windows.cut.any() or (2 * np.diff(windows.offsets) != characters.lengths).any():
        raise ValueError("there are other chunks than those of the tokens")
    return _split_of(columns, split, frame, properties)


def _split_of(columns: Mapping[str, Ragged], split: Records, frame: Frame, properties: Mapping[str, Any]) -> ChunkSplit:
    return ChunkSplit(
        columns["ids"],
        columns["characters"],
        split.labels,
        split.rows,
        pad_id=properties["pad_id"],
        frame=frame,
        window=properties["window"],
        overlap=properties["overlap"],
    )
