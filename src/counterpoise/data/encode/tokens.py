"""Token ids: byte-level BPE trained on the training split, or a pretrained tokenizer."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from counterpoise.config.schema import Range, parse
from counterpoise.data.cache import Cache, dataset_fingerprint
from counterpoise.data.encode.base import Batch, Encoded, Encoding
from counterpoise.data.ragged import Ragged
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError, fail
from counterpoise.hub import only_local
from counterpoise.jsonio import read_json, write_json

log = logging.getLogger(__name__)

PAD, CLS, SEP, UNKNOWN = "<pad>", "<cls>", "<sep>", "<unk>"
FORMAT = 3
"""Raised whenever the layout of a cache entry changes."""
TOKENIZER, PROPERTIES, NOTES = "tokenizer.json", "encoding.json", "notes.json"
"""Files of a cache entry; the first two are kept with the run."""
_CHUNK = 2_000


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """How text becomes token ids."""

    pretrained: str | None = None
    """A Hugging Face tokenizer by name or local folder; null trains a byte-level BPE on the training split."""
    vocab_size: Annotated[int, Range(ge=300)] = 4096
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
        if not dataset.train.has("text"):
            what = f"{dataset.name} holds graphs, no texts that could become tokens."
            raise fail("encoding", what, "Choose a model that reads graphs: model=gnn.")

    def encode(self, dataset: Dataset, cache: Cache) -> Encoded:
        """Train or load the tokenizer, encode all splits; both are cached.

        Raises:
            UserError: if the pretrained tokenizer cannot be found, or has no padding token, or if what is to be used
                again is not there.
        """
        config, tokenizer = self.config, None
        if config.reuse is not None:
            config, tokenizer = taken_up(Path(config.reuse).expanduser())
        elif config.pretrained is not None:
            tokenizer = _pretrained(config.pretrained)
        settings = {name: value for name, value in asdict(config).items() if name != "reuse"}
        key: dict[str, Any] = {"format": FORMAT, "data": dataset_fingerprint(dataset), **settings}
        key["tokenizers"] = version("tokenizers")
        if tokenizer is not None:
            # The name alone does not say what it stands for: a local folder's content may change.
            key["tokenizer"] = _checksum_text(tokenizer.to_str())
        build = partial(self._build, dataset, config, tokenizer)
        return cache.read("tokens", key, build, partial(self._read, dataset))

    def _read(self, dataset: Dataset, folder: Path) -> Encoded:
        """Raises ``ValueError`` or the like for whatever is not as :meth:`_build` leaves it."""
        properties, notes = dict(read_json(folder / PROPERTIES)), dict(read_json(folder / NOTES))
        check_tokenizer(folder / TOKENIZER, properties)
        splits = {}
        for name, split in dataset.splits().items():
            ids = _read_column(folder / f"{name}.arrow", properties["vocab_size"], properties["max_length"])
            if len(ids) != len(split):
                raise ValueError(f"{name}.arrow holds {len(ids)} samples, not {len(split)}")
            splits[name] = TokenSplit(ids, split.labels, split.rows, properties["pad_id"])
        artefacts = {name: folder / name for name in (TOKENIZER, PROPERTIES)}
        return Encoded(splits, properties, artefacts, {"tokens": notes})

    def _build(self, dataset: Dataset, config: TokensConfig, given: Tokenizer | None, folder: Path) -> None:
        tokenizer = train_bpe(dataset.train, config.vocab_size) if given is None else given
        tokenizer.save(str(folder / TOKENIZER))
        tokenizer = load_tokenizer(folder / TOKENIZER)  # as everybody will who encodes new input
        notes: dict[str, Any] = {}
        for split_name, split in dataset.splits().items():
            ids, notes[split_name] = encode_texts(tokenizer, split.texts, config.max_length)
            _write_column(folder / f"{split_name}.arrow", ids)
        properties = {
            "vocab_size": tokenizer.get_vocab_size(),
            "pad_id": pad_id(tokenizer),
            "max_length": config.max_length,
            "pretrained": config.pretrained,
        }
        write_json(folder / PROPERTIES, properties)
        write_json(folder / NOTES, notes)


def taken_up(folder: Path) -> tuple[TokensConfig, Tokenizer]:
    """The settings and the tokenizer of an earlier run.

    Raises:
        UserError: if the folder does not hold both, or they do not belong together.
    """
    try:
        properties = dict(read_json(folder / PROPERTIES))
        check_tokenizer(folder / TOKENIZER, properties)
        return settings_of(properties), load_tokenizer(folder / TOKENIZER)
    except (OSError, ValueError, KeyError, TypeError, UserError) as error:
        reason = _first_line(error).rstrip(".")
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


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a run or a cache entry; ``encode_texts`` with it and the ``max_length`` of the ``encoding.json``
    beside it gives what the model was trained on.

    Part of that is not in the file: that "<pad>" written in a text is text.
    """
    tokenizer = Tokenizer.from_str(_without_padding(path.read_text(encoding="utf-8")))
    tokenizer.encode_special_tokens = True
    return tokenizer


def train_bpe(train: Records, vocab_size: int) -> Tokenizer:
    """A byte-level BPE learnt from the training split alone; it can spell any text, so nothing is ever unknown."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[PAD, CLS, SEP, UNKNOWN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches_of(train.texts), trainer=trainer, length=len(train))
    cls, sep = tokenizer.token_to_id(CLS), tokenizer.token_to_id(SEP)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}", special_tokens=[(CLS, cls), (SEP, sep)]
    )
    return tokenizer


def encode_texts(tokenizer: Tokenizer, texts: list[str], max_length: int) -> tuple[Ragged, Mapping[str, Any]]:
    """Token ids of every text, at most ``max_length`` each, with counts of what was cut."""
    items: list[NDArray[np.int32]] = []
    longest = cut = tokens = tokens_cut = 0
    for texts_chunk in _batches_of(texts):
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


def pad_id(tokenizer: Tokenizer) -> int:
    """The id that pads: this project's own, or the name that BERT, RoBERTa and the like give theirs."""
    for name in (PAD, "[PAD]", "<|padding|>", "<|endoftext|>"):
        found = tokenizer.token_to_id(name)
        if found is not None:
            return int(found)
    raise fail("encoding.pretrained", "this tokenizer has no padding token.", "Choose an encoder's tokenizer.")


def _pretrained(name: str) -> Tokenizer:
    local = Path(name).expanduser() / TOKENIZER
    try:
        if local.is_file():
            return load_tokenizer(local)
        from transformers import AutoTokenizer  # 1 s; only who fine-tunes pays for it

        found = AutoTokenizer.from_pretrained(name, trust_remote_code=False, local_files_only=only_local(name))
        backend = found.backend_tokenizer
        return Tokenizer.from_str(_without_padding(backend.to_str()))
    except Exception as error:
        raise fail(
            "encoding.pretrained",
            f"the tokenizer {name!r} cannot be loaded: {_first_line(error)}",
            "Name a local folder that holds tokenizer.json, or train from scratch with model.pretrained=null.",
        ) from error


def _without_padding(serialized: str) -> str:
    content = json.loads(serialized)
    content["padding"] = content["truncation"] = None
    return json.dumps(content, ensure_ascii=False)


def _checksum_text(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def _batches_of(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _CHUNK):
        yield texts[start : start + _CHUNK]


def _write_column(path: Path, ids: Ragged) -> None:
    table = pa.table({"ids": ids.to_arrow()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def check_tokenizer(path: Path, properties: Mapping[str, Any]) -> None:
    try:
        tokenizer = load_tokenizer(path)
    except Exception as error:  # the library has no error of its own
        raise ValueError(f"{path.name}: {_first_line(error)}") from error
    if (tokenizer.get_vocab_size(), pad_id(tokenizer)) != (properties["vocab_size"], properties["pad_id"]):
        raise ValueError(f"{path.name} does not belong to {PROPERTIES}")


def _read_column(path: Path, vocab_size: int, max_length: int) -> Ragged:
    """Token ids, memory-mapped. Raises ``ValueError`` if offsets, lengths or ids are out of bounds."""
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate(full=True)  # offsets that lead outside would be read as they are
    column = table["ids"]
    ids = Ragged.from_arrow(column.chunk(0)) if column.num_chunks else Ragged.from_items([])
    lowest, highest = (int(ids.values.min()), int(ids.values.max())) if len(ids.values) else (0, 0)
    if lowest < 0 or highest >= vocab_size or ids.lengths.max(initial=0) > max_length:
        raise ValueError(f"{path.name} holds other tokens than its tokenizer's")
    return ids
