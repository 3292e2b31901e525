"""What is seen of a pretrained encoder before it is used: its weights, its positions, and which way it reads."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from counterpoise.data.encoders.pretrained import Pretrained, PretrainedConfig
from counterpoise.errors import UserError
from counterpoise.pretrained import LoadedEncoder, Origin, load_encoder

SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
}
BEHIND = {"vocab_size": 30, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def make(folder: Path, kind: str = "Roberta", **values: Any) -> Path:
    """A tiny encoder of a kind of the library, with random weights."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**BEHIND, **SIZE, **values})
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    return folder


def tokenizer(folder: Path) -> Path:
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(26))]
    own = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=own, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    return folder


def change(folder: Path, changed: Change) -> Path:
    path = folder / "model.safetensors"
    save_file(changed(load_file(path)), path, metadata={"format": "pt"})
    return folder


def load(folder: Path) -> LoadedEncoder:
    return load_encoder(Origin("model.pretrained", str(folder), "Name another."))


def named(prefix: str) -> Change:
    return lambda weights: {f"{prefix}{name}": value for name, value in weights.items()}


def only(*parts: str) -> Change:
    return lambda weights: {name: value for name, value in weights.items() if any(part in name for part in parts)}


def without(*parts: str) -> Change:
    return lambda weights: {name: value for name, value in weights.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize(
    "change_to", [named("module."), named("encoder_q."), only("embeddings"), only("nothing", "pooler")]
)
def test_weights_of_which_nearly_none_fit_are_refused(change_to: Change, tmp_path: Path) -> None:
    folder = change(make(tmp_path, num_hidden_layers=4), change_to)
    with pytest.raises(UserError, match=r"^model\.pretrained: (none|5) of its 69 weights (is|are) in the files of"):
        load(folder)


def test_the_name_that_is_sought_and_the_one_that_is_there_are_told(tmp_path: Path) -> None:
    folder = change(make(tmp_path), named("module."))
    with pytest.raises(UserError, match=r"'embeddings\.LayerNorm\.bias' is sought, but they hold 'module\.embeddings"):
        load(folder)


@pytest.mark.parametrize(
    ("change_to", "said"), [(without("layer.1."), True), (without("pooler"), False), (named("roberta."), False)]
)
def test_missing_weights_are_told_in_our_own_words(
    change_to: Change, said: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = change(make(tmp_path), change_to)
    capfd.readouterr()
    transformers.logging.set_verbosity_warning()
    with caplog.at_level(logging.WARNING):
        load(folder)
    told = [record.getMessage() for record in caplog.records]
    assert capfd.readouterr() == ("", "")
    assert len(told) == said
    if said:
        assert told[0].startswith("model.pretrained: 16 of the 37 weights of")
        assert "encoder.layer.1.attention" in told[0]
    assert transformers.logging.get_verbosity() == transformers.logging.WARNING
    assert transformers.logging.is_progress_bar_enabled()


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 40}))
    with pytest.raises(UserError, match=r"embeddings\.word_embeddings\.weight is \[30, 16\], but must be \[40, 16\]"):
        load(folder)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = change(make(tmp_path), lambda weights: {name: value * float("nan") for name, value in weights.items()})
    with pytest.raises(UserError, match=r"model\.pretrained: the states of .* are not finite"):
        load(folder)


# Kind, settings, and how many tokens it has places for: as many as it has positions behind the first that it uses.
@pytest.mark.parametrize(
    ("kind", "values", "longest"),
    [
        ("Bert", {"pad_token_id": 0}, 24),
        ("Roberta", {}, 22),
        ("RobertaPreLayerNorm", {}, 22),
        ("MPNet", {}, 22),
        ("Camembert", {}, 22),
        ("XLMRoberta", {}, 22),
        ("Data2VecText", {}, 22),
        ("IBert", {}, 22),
        ("Esm", {"position_embedding_type": "absolute", "mask_token_id": 4}, 22),
        ("Longformer", {"attention_window": 4}, 22),
        ("Xmod", {"default_language": "en_XX"}, 22),
        ("Electra", {"pad_token_id": 0, "embedding_size": 8}, 24),
        ("ModernBert", {"pad_token_id": 0, "cls_token_id": 3, "sep_token_id": 4}, 24),
    ],
)
def test_positions_are_counted_from_the_first_one_that_is_used(
    kind: str, values: dict[str, Any], longest: int, tmp_path: Path
) -> None:
    loaded = load(make(tmp_path, kind, **values))
    assert (loaded.longest, loaded.width, loaded.causal) == (longest, 16, False)
    ids = torch.full((1, longest), 7)
    with torch.no_grad():
        loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids))  # as long as it says, it can be read
        longer = torch.full((1, longest + 4), 7)
        if kind != "ModernBert":  # its positions are no table
            with pytest.raises((IndexError, RuntimeError)):
                loaded.model(input_ids=longer, attention_mask=torch.ones_like(longer))


GPT2 = {"n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 30, "pad_token_id": 1}
LLAMA = {"num_key_value_heads": 2}


@pytest.mark.parametrize(("kind", "values"), [("GPT2", GPT2), ("Llama", LLAMA), ("Bert", {"is_decoder": True})])
def test_a_causal_model_is_known_by_what_it_does(kind: str, values: dict[str, Any], tmp_path: Path) -> None:
    folder = tokenizer(make(tmp_path, kind, **values))
    assert load(folder).causal
    with pytest.raises(UserError, match=r"encoder\.name: .* is a causal model.*encoder\.pooling=mean"):
        Pretrained(PretrainedConfig(name=str(folder), pooling="cls")).encode(["w1 w2"])
    one, other = Pretrained(PretrainedConfig(name=str(folder), pooling="mean")).encode(["w1 w2", "w1 w3"])
    assert abs(one - other).max() > 1e-4


# No special token stands around a text here, so that one of blanks has no token at all.
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_text_without_a_token_is_the_zero_vector(pooling: Any, tmp_path: Path) -> None:
    encoder = Pretrained(PretrainedConfig(name=str(tokenizer(make(tmp_path))), pooling=pooling))
    assert not encoder.encode([" ", ""]).any()
    mixed = encoder.encode([" ", "w1 w2"])
    assert not mixed[0].any()
    np.testing.assert_allclose(mixed[1], encoder.encode(["w1 w2"])[0], atol=1e-6)


def test_what_reads_no_tokens_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=8, patch_size=4
    )
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"model\.pretrained: .* \(vit\) cannot read 4 tokens: "):
        load(tmp_path)


def test_tokens_that_the_encoder_has_no_row_for_are_refused(tmp_path: Path) -> None:
    folder = tokenizer(make(tmp_path, vocab_size=29))
    encoder = Pretrained(PretrainedConfig(name=str(folder)))
    assert encoder.encode(["w24"]).shape == (1, 16)
    with pytest.raises(UserError, match=r"encoder\.name: .* gives 'w25' the id 29, beyond the encoder's 29"):
        encoder.encode(["w1 w25"])


def test_loading_draws_no_random_numbers_beyond_the_librarys(tmp_path: Path) -> None:
    folder = make(tmp_path)
    torch.manual_seed(3)
    load(folder)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    transformers.AutoModel.from_pretrained(folder)
    assert torch.equal(after, torch.get_rng_state())
