"""What the folder of a sentence-transformers model says of pooling, length and normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from counterpoise.errors import UserError, fail, first_line
from counterpoise.jsonio import read_json

PoolingMode = Literal["mean", "cls", "max"]
_LEGACY = {"pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean"}
"""What older versions call the modes; each is true or false."""


@dataclass(frozen=True)
class SentenceFolder:
    """How an encoder is meant to be used. The defaults are those of a plain Hugging Face encoder."""

    pooling: PoolingMode = "mean"
    max_tokens: int | None = None
    """Longest sequence, special tokens included; ``None`` where the folder does not say."""
    normalise: bool = False
    """Whether vectors are brought to length 1."""
    lower_case: bool = False
    """Whether texts are put in lower case before they become tokens."""


def read_folder(folder: Path) -> SentenceFolder:
    """Read ``modules.json`` and what it names; a folder without it is a plain encoder's.

    Raises:
        UserError: if the model has parts that are not known here (a dense layer, another pooling, a prompt), or its
            files cannot be read.
    """
    if not (folder / "modules.json").is_file():
        return SentenceFolder()
    try:
        return _read(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        first = first_line(error)
        raise fail("encoder.name", f"{folder} cannot be read as a sentence encoder: {first}.") from error


def _read(folder: Path) -> SentenceFolder:
    modules: Sequence[Mapping[str, Any]] = read_json(folder / "modules.json")
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        what = f"{folder} is made of {', '.join(kinds)}."
        raise fail("encoder.name", what, "Only Transformer, Pooling and perhaps Normalize, in this order, can be used.")
    where = folder / str(modules[0]["path"])
    if where.resolve() != folder.resolve():
        raise fail("encoder.name", f"the encoder of {folder} lies in {modules[0]['path']}.", "Name that folder.")
    pooling = folder / str(modules[1]["path"])
    if not pooling.resolve().is_relative_to(folder.resolve()):
        what = f"modules.json of {folder} names {modules[1]['path']!r}, which does not lie in it."
        raise fail("encoder.name", what, "Put all files into the folder.")
    _check_prompt(folder)
    settings = _settings(folder / "sentence_bert_config.json")
    limit = settings.get("max_seq_length")
    return SentenceFolder(
        pooling=_pooling(folder, read_json(pooling / "config.json")),
        max_tokens=None if limit is None else int(limit),
        normalise="Normalize" in kinds,
        lower_case=bool(settings.get("do_lower_case", False)),
    )


def _settings(path: Path) -> Mapping[str, Any]:
    return dict(read_json(path)) if path.is_file() else {}


def _check_prompt(folder: Path) -> None:
    """A prompt in front of every text is no part of what is done here."""
    name = _settings(folder / "config_sentence_transformers.json").get("default_prompt_name")
    if name is not None:
        what = f"{folder} puts the prompt {name!r} in front of every text."
        raise fail("encoder.name", what, "Name another encoder.")


def _pooling(folder: Path, config: Mapping[str, Any]) -> PoolingMode:
    """The one mode; several beside each other, and all others, are refused."""
    if "pooling_mode" in config:
        given = config["pooling_mode"]
        modes = [given] if isinstance(given, str) else list(given)
    else:
        on = [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
        modes = [_LEGACY.get(name, name) for name in on]
    if len(modes) != 1 or modes[0] not in get_args(PoolingMode):
        raise _unknown(folder, modes)
    return cast(PoolingMode, modes[0])


def _unknown(folder: Path, modes: Sequence[object]) -> UserError:
    known = ", ".join(get_args(PoolingMode))
    what = f"{folder} pools by {', '.join(map(str, modes)) or 'nothing'}; known are {known}."
    return fail("encoder.name", what, "Name another encoder, or its plain Hugging Face folder with encoder.pooling.")
