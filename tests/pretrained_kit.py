"""Tiny pretrained folders: random weights, and a tokenizer of whole words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WORDS = ["int", "return", "unchecked", "guarded", "{", "}", "a", "b"]
SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 34,
}


def save_tokenizer(folder: Path) -> None:
    """Numbers by position in ``SPECIAL`` and ``WORDS``, framed as RoBERTa frames."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    own = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    frame = [("<s>", 0), ("</s>", 2)]
    own.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=frame)
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=own, **names).save_pretrained(folder)


def encoder_folder(folder: Path, kind: str = "Roberta", **values: Any) -> Path:
    """An encoder of a kind of the library: 32 tokens at most, 12 in its vocabulary."""
    save_tokenizer(folder)
    torch.manual_seed(0)
    given = {"vocab_size": 12, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, **SIZE, **values}
    getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**given)).save_pretrained(folder)
    return folder


def rename_weights(folder: Path, prefix: str) -> Path:
    """Put a prefix before the name of every weight."""
    path = folder / "model.safetensors"
    renamed = {f"{prefix}{name}": value for name, value in load_file(path).items()}
    save_file(renamed, path, metadata={"format": "pt"})
    return folder
