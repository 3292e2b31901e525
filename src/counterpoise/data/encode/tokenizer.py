"""Tokenizers, a byte-level BPE learnt from the training split or a pretrained one, and columns of ids on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import pyarrow as pa
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from counterpoise.config.values import Range
from counterpoise.data.cache import dataset_fingerprint
from counterpoise.data.ragged import Ragged
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError, fail, first_line
from counterpoise.files import read_text
from counterpoise.jsonio import read_json, write_bytes
from counterpoise.pretrained import Origin
from counterpoise.pretrained import load_tokenizer as load_pretrained
from counterpoise.typed import Count, checked

MOST_TOKENS = 1 << 24
"""Rows of the largest table of embeddings."""
Length = Annotated[int, Range(ge=1, lt=2**31)]
"""Tokens of a sequence."""
PAD, CLS, SEP, UNKNOWN = "<pad>", "<cls>", "<sep>", "<unk>"
TOKENIZER, PROPERTIES, NOTES = "tokenizer.json", "encoding.json", "notes.json"
"""Files of a cache entry; the first two are kept with the run."""
SPLIT = "split_special_tokens"
"""Property: whether special tokens that are written in a text are text. They are for a BPE learnt here; a pretrained
tokenizer says it itself."""
WHERE = "encoding.pretrained"
_TEXTS, _CHARACTERS = 2_000, 4_000_000
"""Texts that are encoded together, and how long they may be together: encodings take far more memory than ids."""


CLS_ID, SEP_ID = 1, 2
"""Of a tokenizer that is learnt here: its special tokens come first."""
GROWTH = 1_000
"""Times as long as it was that a text may become before it is tokenized."""
LONGEST_WORD = 256
"""Bytes at which a word is cut before a BPE is learnt from it; a merge takes time in proportion to the longest word."""


def check_texts(dataset: Dataset) -> None:
    """Raises ``UserError`` for records that are no texts."""
    if not dataset.train.has("text"):
        what = f"{dataset.name} holds graphs, no texts that could become tokens."
        raise fail("encoding", what, "Choose a model that reads graphs: model=gnn.")


class Given(NamedTuple):
    """A tokenizer, and the id that pads what it gives."""

    tokenizer: Tokenizer
    pad_id: int

    @property
    def properties(self) -> dict[str, Any]:
        """What must be known of it beside its file, JSON-ready."""
        return {
            "vocab_size": vocabulary_size(self.tokenizer),
            "pad_id": self.pad_id,
            SPLIT: bool(self.tokenizer.encode_special_tokens),
        }


def cache_key(layout: int, dataset: Dataset, settings: Mapping[str, Any], given: Given | None) -> dict[str, Any]:
    """What a cache entry of token ids depends on.

    Args:
        layout: the number of its layout.
        dataset: whose texts are encoded.
        settings: of the encoding.
        given: the tokenizer, unless it is learnt from the data.
    """
    key: dict[str, Any] = {"format": layout, "data": dataset_fingerprint(dataset), **settings}
    key["tokenizers"] = version("tokenizers")
    if given is None:
        key["longest_word"] = LONGEST_WORD
    else:
        # The name alone does not say what it stands for: a local folder's content may change.
        key["tokenizer"] = hashlib.blake2b(given.tokenizer.to_str().encode(), digest_size=16).hexdigest()
        key["properties"] = given.properties
    return key


def settle_tokenizer(folder: Path, train: Records, vocab_size: int, given: Given | None) -> Given:
    """Leave ``given``, or one learnt from the training split, in ``folder``; as everybody will load it from there."""
    if given is None:
        learnt = train_bpe(train, vocab_size)
        learnt.encode_special_tokens = True
        given = Given(learnt, pad_id(learnt))
    # Its own save() raises a plain Exception over a full disk.
    write_bytes(folder / TOKENIZER, given.tokenizer.to_str(pretty=True).encode())
    loaded = load_tokenizer(folder / TOKENIZER, split_special_tokens=given.tokenizer.encode_special_tokens)
    return Given(loaded, given.pad_id)


@contextmanager
def whole_tokenizer(name: str) -> Iterator[None]:
    """While inside, any failure of the library over a tokenizer is a ``ValueError``.

    It panics at regular expressions that take too long, and at ids that are missing: that is no ``Exception``.

    Args:
        name: of the tokenizer's file.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, ValueError, UserError):
        raise
    except BaseException as error:
        raise ValueError(f"{name}: {first_line(error)}") from error


def load_tokenizer(path: Path, *, split_special_tokens: bool = True) -> Tokenizer:
    """The tokenizer of a run or a cache entry; with what the ``encoding.json`` beside it says it gives what the model
    was trained on.

    Args:
        path: of its file.
        split_special_tokens: whether "<pad>" written in a text is text; its file does not say it.
    """
    tokenizer = Tokenizer.from_str(_without_padding(read_text(path)))
    tokenizer.encode_special_tokens = split_special_tokens
    return tokenizer


def train_bpe(train: Records, vocab_size: int) -> Tokenizer:
    """A byte-level BPE learnt from the training split alone; it can spell any text, so nothing is ever unknown.

    Words are cut at :data:`LONGEST_WORD` bytes for learning only: an encoded text is never cut there.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    cut = pre_tokenizers.FixedLength(LONGEST_WORD)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_words(), cut])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[PAD, CLS, SEP, UNKNOWN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(batches_of(train.texts), trainer=trainer, length=len(train))
    return _with_steps(tokenizer)


def _words() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _with_steps(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with all that it does beside its BPE."""
    tokenizer.pre_tokenizer = _words()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}", special_tokens=[(CLS, CLS_ID), (SEP, SEP_ID)]
    )
    return tokenizer


def _steps(tokenizer: Tokenizer) -> dict[str, Any]:
    """All that a tokenizer does, its vocabulary aside."""
    content = json.loads(tokenizer.to_str())
    names = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    model = {name: value for name, value in content["model"].items() if name not in ("vocab", "merges")}
    return {**{name: content[name] for name in names}, "model": model}


def _check_growth(normalizer: Mapping[str, Any] | None, name: str) -> None:
    """Raises ``ValueError`` for a normalizer that may make a text more than :data:`GROWTH` times as long."""
    if normalizer is None:
        return
    growth = 1
    for step in normalizer.get("normalizers", [normalizer]):
        added = step.get("content", "") if step.get("type") == "Replace" else step.get("prepend", "")
        growth *= max(1, len(added))
    if growth > GROWTH:
        raise ValueError(f"{name}: its normalizer may make a text {growth:,} times as long")


def pretrained_tokenizer(name: str) -> Tokenizer:
    """A Hugging Face tokenizer by name or local folder: it gives the ids that ``AutoTokenizer`` gives.

    Raises:
        UserError: as :func:`open_pretrained`.
    """
    return open_pretrained(name).tokenizer


def open_pretrained(name: str) -> Given:
    """A Hugging Face tokenizer by name or local folder; code that comes with it is never run.

    Raises:
        UserError: if it cannot be loaded, has no padding token, or is made of Python code, which a run cannot keep.
    """
    remedy = "Name a local folder that holds tokenizer.json, or train from scratch with model.pretrained=null."
    origin = Origin(WHERE, name, remedy)
    found = load_pretrained(origin)
    backend = getattr(found, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        what = f"the tokenizer {name!r} is a {type(found).__name__}, which no tokenizer.json can hold."
        raise origin.refuse(what, "Name an encoder with another tokenizer.")
    if vocabulary_size(backend) > MOST_TOKENS:
        what = f"the tokenizer {name!r} has a token of the number {vocabulary_size(backend) - 1:,}."
        raise origin.refuse(what, "Name an encoder with another tokenizer.")
    own = Tokenizer.from_str(_without_padding(backend.to_str()))
    own.encode_special_tokens = bool(found.split_special_tokens)
    return Given(own, pad_id(own) if found.pad_token_id is None else int(found.pad_token_id))


def pad_id(tokenizer: Tokenizer) -> int:
    """The id that pads where nothing else says it: this project's own, or the name that BERT, RoBERTa and the like give
    theirs."""
    for name in (PAD, "[PAD]", "<|padding|>", "<|endoftext|>"):
        found = tokenizer.token_to_id(name)
        if found is not None:
            return int(found)
    raise fail(WHERE, "this tokenizer has no padding token.", "Choose an encoder's tokenizer.")


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """How many rows a table of embeddings needs: one more than the largest id. A pruned vocabulary has gaps."""
    return 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)


def check_tokenizer(path: Path, properties: Mapping[str, Any]) -> Given:
    """The tokenizer at ``path``. Raises ``ValueError`` if it is none, or not the one of the properties beside it.

    Args:
        path: of its file.
        properties: as :func:`read_token_properties` gives them.
    """
    own = properties["pretrained"] is None
    with whole_tokenizer(path.name):  # the library has no error of its own
        # An earlier version split the special tokens of every tokenizer, and did not record it.
        tokenizer = load_tokenizer(path, split_special_tokens=bool(properties.get(SPLIT, True)))
    padding = tokenizer.token_to_id(PAD) if own else properties["pad_id"]
    size = vocabulary_size(tokenizer)
    if size > MOST_TOKENS:  # the library walks over all ids below the largest one to write a tokenizer
        raise ValueError(f"{path.name} has a token of the number {size - 1:,}")
    if own and _steps(tokenizer) != _steps(_with_steps(Tokenizer(models.BPE(unk_token=None)))):
        raise ValueError(f"{path.name} does more than a tokenizer that is learnt here")
    _check_growth(json.loads(tokenizer.to_str()).get("normalizer"), path.name)
    if (size, padding) != (properties["vocab_size"], properties["pad_id"]):
        raise ValueError(f"{path.name} does not belong to {PROPERTIES}")
    if padding is None or tokenizer.id_to_token(padding) is None:
        raise ValueError(f"{path.name} has no token {padding}, which pads")
    return Given(tokenizer, padding)


def batches_of(texts: list[str]) -> Iterator[list[str]]:
    """The texts in their order, a bounded number of them, and of their characters, at a time; at least one."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) == _TEXTS or characters + len(text) > _CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch


def write_columns(path: Path, columns: Mapping[str, Ragged]) -> None:
    """Columns of as many items each as an Arrow file."""
    table = pa.table({name: column.to_arrow() for name, column in columns.items()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read_column(table: pa.Table, name: str) -> Ragged:
    """A column of :func:`open_columns`'s table; nothing is copied."""
    column = table[name]
    return Ragged.from_arrow(column.chunk(0)) if column.num_chunks else Ragged.from_items([])


def open_columns(path: Path, items: int) -> pa.Table:
    """What :func:`write_columns` left, memory-mapped. Raises ``ValueError`` if it holds another number of items."""
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate(full=True)  # offsets that lead outside would be read as they are
    for field in table.schema:
        if not pa.types.is_large_list(field.type) or field.type.value_type not in (pa.int32(), pa.int64()):
            raise ValueError(f"{path.name} holds {field.type} in {field.name}")
        if table[field.name].num_chunks > 1 or table[field.name].null_count:
            raise ValueError(f"{path.name} holds {field.name} in pieces, or with gaps")
    if table.num_rows != items:
        raise ValueError(f"{path.name} holds {table.num_rows} samples, not {items}")
    return table


class TokenProperties(TypedDict):
    """``encoding.json`` of tokens."""

    vocab_size: Annotated[int, Range(ge=1, le=MOST_TOKENS)]
    pad_id: Count
    max_length: Length
    pretrained: str | None
    split_special_tokens: NotRequired[bool]


def read_token_properties(path: Path) -> dict[str, Any]:
    """What a model over tokens must know. Raises ``OSError``, or ``ValueError`` for what is no such file."""
    return dict(checked(TokenProperties, read_json(path), path.name))


def check_ids(ids: Ragged, vocab_size: int, longest: int) -> None:
    """Raises ``ValueError`` if any is none of the vocabulary's, or any item is longer than ``longest``."""
    lowest, highest = (int(ids.values.min()), int(ids.values.max())) if len(ids.values) else (0, 0)
    if lowest < 0 or highest >= vocab_size or ids.lengths.max(initial=0) > longest:
        raise ValueError("there are other tokens than the tokenizer's")


def _without_padding(serialized: str) -> str:
    content = json.loads(serialized)
    content["padding"] = content["truncation"] = None
    return json.dumps(content, ensure_ascii=False)
