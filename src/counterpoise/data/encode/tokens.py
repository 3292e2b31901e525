"""Token ids: byte-level BPE trained on the training split, or a pretrained tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from counterpoise.config.schema import Range, parse
from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Batch, Encoded, Encoding, Learnt
from counterpoise.data.encode.tokenizer import (
    NOTES,
    PROPERTIES,
    TOKENIZER,
    Given,
    batches_of,
    cache_key,
    check_ids,
    check_texts,
    check_tokenizer,
    open_columns,
    open_pretrained,
    read_column,
    read_token_properties,
    settle_tokenizer,
    whole_tokenizer,
    write_columns,
)
from counterpoise.data.ragged import Ragged
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError, fail, first_line
from counterpoise.jsonio import read_json, write_json
from counterpoise.paths import user_path

FORMAT = 4
"""Raised whenever the layout of a cache entry changes."""


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """How text becomes token ids."""

    pretrained: str | None = None
    """A Hugging Face tokenizer by name or local folder; null trains a byte-level BPE on the training split."""
    vocab_size: Annotated[int, Range(ge=300, le=1_000_000)] = 4096
    """Largest vocabulary of the BPE that is trained here; 256 bytes and four special tokens always stand in it."""
    max_length: Annotated[int, Range(ge=8)] = 512
    """Longest sequence in tokens, special tokens included; what is cut is counted."""
    reuse: str | None = None
    """Folder of a run whose tokenizer and longest sequence are taken up again, in place of all of the above."""


@dataclass(frozen=True)
class TokenSplit:
    """One split as token ids."""

    ids: Ragged
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    pad_id: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per sample, ``[N]``."""
        return self.ids.lengths

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """``ids [B, L]`` int64 and ``lengths [B]`` int64, padded to the longest of the batch."""
        ids = self.ids.gather(indices, self.pad_id)
        lengths = self.ids.offsets[indices + 1] - self.ids.offsets[indices]
        inputs = {"ids": torch.from_numpy(ids).long(), "lengths": torch.from_numpy(lengths)}
        return Batch(inputs, torch.from_numpy(self.labels[indices]), torch.from_numpy(self.rows[indices]))


class Tokens(Encoding):
    """Token ids with CLS in front and SEP behind, cut to ``max_length``."""

    Config: ClassVar[type] = TokensConfig
    kind: ClassVar[str] = "tokens"

    def __init__(self, config: TokensConfig) -> None:
        self.config = config

    def check(self, dataset: Dataset) -> None:
        """Raises ``UserError`` for records that are no texts."""
        check_texts(dataset)

    def encode(self, dataset: Dataset, cache: Cache) -> Encoded:
        """Train or load the tokenizer, encode all splits; both are cached.

        Raises:
            UserError: if the pretrained tokenizer cannot be found, or has no padding token, or if what is to be used
                again is not there.
        """
        config, tokenizer = self.config, None
        if config.reuse is not None:
            config, tokenizer = taken_up(user_path(config.reuse, "encoding.reuse"))
        elif config.pretrained is not None:
            tokenizer = open_pretrained(config.pretrained)
        settings = {name: value for name, value in asdict(config).items() if name != "reuse"}
        key = cache_key(FORMAT, dataset, settings, tokenizer)
        build = partial(self._build, dataset, config, tokenizer)
        return cache.read("tokens", key, build, partial(self._read, dataset))

    def learnt(self, folder: Path) -> Learnt:
        """The tokenizer and the longest sequence of a run."""
        properties = read_token_properties(folder / PROPERTIES)
        tokenizer, _ = check_tokenizer(folder / TOKENIZER, properties)

        def apply(records: Records) -> TokenSplit:
            with whole_tokenizer(TOKENIZER):
                ids, _ = encode_texts(tokenizer, records.texts, properties["max_length"])
            check_ids(ids, properties["vocab_size"], properties["max_length"])
            return TokenSplit(ids, records.labels, records.rows, properties["pad_id"])

        return Learnt(properties, apply)

    def _read(self, dataset: Dataset, folder: Path) -> Encoded:
        """Raises ``ValueError`` or the like for whatever is not as :meth:`_build` leaves it."""
        properties, notes = read_token_properties(folder / PROPERTIES), dict(read_json(folder / NOTES))
        check_tokenizer(folder / TOKENIZER, properties)
        splits = {}
        for name, split in dataset.splits().items():
            ids = read_column(open_columns(folder / f"{name}.arrow", len(split)), "ids")
            check_ids(ids, properties["vocab_size"], properties["max_length"])
            splits[name] = TokenSplit(ids, split.labels, split.rows, properties["pad_id"])
        artefacts = {name: folder / name for name in (TOKENIZER, PROPERTIES)}
        return Encoded(splits, properties, artefacts, {"tokens": notes})

    def _build(self, dataset: Dataset, config: TokensConfig, given: Given | None, folder: Path) -> None:
        settled = settle_tokenizer(folder, dataset.train, config.vocab_size, given)
        notes: dict[str, Any] = {}
        for split_name, split in dataset.splits().items():
            ids, notes[split_name] = encode_texts(settled.tokenizer, split.texts, config.max_length)
            write_columns(folder / f"{split_name}.arrow", {"ids": ids})
        properties = {**settled.properties, "max_length": config.max_length, "pretrained": config.pretrained}
        write_json(folder / PROPERTIES, properties)
        write_json(folder / NOTES, notes)


def taken_up(folder: Path) -> tuple[TokensConfig, Given]:
    """The settings and the tokenizer of an earlier run.

    Raises:
        UserError: if the folder does not hold both, or they do not belong together.
    """
    try:
        properties = read_token_properties(folder / PROPERTIES)
        given = check_tokenizer(folder / TOKENIZER, properties)
        return settings_of(properties), given
    except (OSError, ValueError, KeyError, TypeError, UserError) as error:
        reason = first_line(error)
        what = f"{folder} has no tokenizer that could be used again: {reason}."
        raise fail("encoding.reuse", what, "Name the folder of a finished run of a model that reads tokens.") from error


def settings_of(properties: Mapping[str, Any]) -> TokensConfig:
    """The settings that a run's properties stand for.

    Raises:
        UserError: if they are none that there could be; a ``KeyError`` if one is missing.
    """
    given = {name: properties[name] for name in ("pretrained", "max_length")}
    # A vocabulary may be smaller than any that can be asked for: a short text has no more words.
    return replace(parse(TokensConfig, given), vocab_size=int(properties["vocab_size"]))


def encode_texts(tokenizer: Tokenizer, texts: list[str], max_length: int) -> tuple[Ragged, Mapping[str, Any]]:
    """Token ids of every text, at most ``max_length`` each, with counts of what was cut."""
    items: list[NDArray[np.int32]] = []
    longest = cut = tokens = tokens_cut = 0
    for texts_chunk in batches_of(texts):
        for encoding in tokenizer.encode_batch_fast(texts_chunk):
            ids = np.asarray(encoding.ids, np.int32)
            tokens += len(ids)
            longest = max(longest, len(ids))
            if len(ids) > max_length:
                cut += 1
                tokens_cut += len(ids) - max_length
                # The last token is kept: it is SEP wherever the tokenizer ends its sequences with one.
                ids = np.concatenate([ids[: max_length - 1], ids[-1:]])
            items.append(ids)
    ragged = Ragged.from_items(items)
    notes = {
        "samples": len(items),
        "median_length": float(np.median([len(item) for item in items])) if items else 0.0,
        "longest": longest,
        "truncated_samples": cut,
        "truncated_tokens_share": tokens_cut / tokens if tokens else 0.0,
    }
    return ragged, notes
