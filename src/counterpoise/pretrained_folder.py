"""What a pretrained folder may choose: the numbers of an encoder whose weights lie in it, and nothing else.

The library follows its ``config.json`` further: to kernels from a hub, to packages for quantised weights, to the base
model of an adapter, and to files outside the folder. None of that is followed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from counterpoise.errors import UserError
from counterpoise.jsonio import read_json

Refuse = Callable[[str, str], UserError]
"""Makes an error of a message and a remedy."""
REFUSED = {
    "quantization_config": "its weights are quantised",
    "transformers_weights": "it names the file of its weights",
    "fusion_config": "it asks for fused layers",
    "distributed_config": "it asks for several machines",
    "use_pretrained_backbone": "it needs the weights of another model",
}
"""Settings that make the library import or load something else, and what they mean."""
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
MOST_LAYERS = 10_000
"""No encoder has more layers, blocks or experts; each takes time to be built."""
_REPEATED = ("layer", "block", "expert", "depth")
_GROWTH, _SLACK = 16, 1 << 26
"""Bytes that a model may take in float32 for each byte of its files, and beside those: a model whose files hold a
quarter of its tensors is taken, and they may be in half precision."""
SAVED_WHOLE = "Save the model again with save_pretrained, whole and in float32."


def check_folder(folder: Path, refuse: Refuse) -> None:
    """Raises ``refuse(...)`` where a local folder would lead the library elsewhere, or make it wait."""
    for path in sorted(folder.iterdir()):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise refuse(f"{path.name} of {folder} is no regular file.", "Remove it.")
    if (folder / "adapter_config.json").exists():
        raise refuse(f"{folder} holds an adapter, which names another model.", "Merge the two, and save the result.")
    if any(folder.glob("*.distcp")) or (folder / ".metadata").exists():
        raise refuse(f"{folder} holds a distributed checkpoint.", SAVED_WHOLE)
    for index in sorted(folder.glob("*.index.json")):
        _check_names(index, _shards(_read(index, refuse)), refuse)
    names = _read(folder / "tokenizer_config.json", refuse).get("fast_tokenizer_files", ())
    _check_names(folder / "tokenizer_config.json", names if isinstance(names, list) else (), refuse)


def settle_config(config: Any, refuse: Refuse) -> None:
    """Refuse what a config must not choose, and leave the choice of kernels to the library's own.

    Raises:
        UserError: as ``refuse`` makes it.
    """
    for key, value in _settings(config.to_dict()):
        name = key.rsplit(".", 1)[-1]
        if name in REFUSED and value:
            raise refuse(f"{key} of its config.json cannot be followed: {REFUSED[name]}.", SAVED_WHOLE)
        counted = isinstance(value, int) and any(word in name for word in _REPEATED)
        if counted and value > MOST_LAYERS:
            raise refuse(f"{key} of its config.json is {value}, more than the {MOST_LAYERS} of any encoder.", "")
    # For sub-configs too. None is what the library has where nothing is said: torch's attention, or its plain one.
    config._attn_implementation = None
    config._experts_implementation = None


def check_size(config: Any, folder: Path, refuse: Refuse) -> None:
    """Raises ``refuse(...)`` where a model takes far more memory than its files, before any of it is taken."""
    import transformers

    library: Any = transformers  # it has no types
    held = sum(path.stat().st_size for pattern in WEIGHTS for path in folder.glob(pattern))
    with torch.device("meta"):
        model = library.AutoModel.from_config(config, trust_remote_code=False)
    parts = [*model.parameters(), *model.buffers()]
    wanted = sum(part.numel() * (4 if part.is_floating_point() else part.element_size()) for part in parts)
    if wanted > _GROWTH * held + _SLACK:
        message = f"its config.json describes a model of {wanted:,} bytes, but its files hold {held:,}."
        raise refuse(message, "Bring the config.json that the weights were saved with.")


def _read(path: Path, refuse: Refuse) -> Mapping[str, Any]:
    """A JSON mapping; empty where there is no such file, or one that the library refuses in its own words."""
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _shards(index: Mapping[str, Any]) -> Sequence[Any]:
    weights = index.get("weight_map")
    return sorted(set(map(str, weights.values()))) if isinstance(weights, dict) else ()


def _check_names(where: Path, names: Sequence[Any], refuse: Refuse) -> None:
    """Files beside ``where`` are named by their bare names."""
    for name in names:
        if not isinstance(name, str) or name in ("", ".", "..") or any(sign in name for sign in "/\\\x00"):
            message = f"{where.name} of {where.parent} names {name!r}, which does not lie beside it."
            raise refuse(message, "Put all files into the folder, and name them without a path.")


def _settings(config: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted key, those of sub-configs too."""
    for key, value in config.items():
        name = f"{where}.{key}" if where else str(key)
        yield name, value
        if isinstance(value, Mapping):
            yield from _settings(value, name)
