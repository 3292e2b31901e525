"""A pretrained folder chooses the numbers of an encoder: no kernels, no packages, no files elsewhere, no memory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.modeling_utils
from safetensors.torch import load_file

from counterpoise.data.encode.tokenizer import open_pretrained
from counterpoise.data.encoders.pretrained import Pretrained, PretrainedConfig
from counterpoise.data.encoders.sentence_folder import read_folder
from counterpoise.errors import UserError
from counterpoise.models.text_encoder import load_backbone
from pretrained_kit import encoder_folder

IDS = torch.tensor([[0, 4, 5, 2]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return encoder_folder(tmp_path / "encoder")


def edit(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **values}))


def states(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = load_backbone(str(folder), 0.0).model(input_ids=IDS).last_hidden_state
    return found


def refusal(load: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        load()
    (problem,) = caught.value.problems
    return str(problem)


# A kernel is fetched and imported by its name, whatever trust_remote_code says.
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
@pytest.mark.parametrize(
    "value", ["kernels-community/evil", "evil/kernel:f", "flash_attention_2", "flex_attention", {"": "evil/kernel"}]
)
def test_kernels_are_our_choice(key: str, value: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    for name in ("lazy_import_flash_attention", "lazy_import_paged_flash_attention"):
        if hasattr(transformers.modeling_utils, name):
            monkeypatch.setattr(transformers.modeling_utils, name, lambda *given, **named: asked.append(given))
    before = states(folder)
    edit(folder / "config.json", **{key: value})
    assert torch.equal(states(folder), before)
    assert not asked


def test_a_model_without_torchs_attention_has_its_own(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path / "encoder", "DebertaV2")
    before = states(folder)
    edit(folder / "config.json", attn_implementation="kernels-community/evil")
    assert torch.equal(states(folder), before)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "quantization_config"),
        ({"transformers_weights": "other.safetensors"}, "transformers_weights"),
        ({"fusion_config": {"patch_embeddings": True}}, "fusion_config"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers of its config.json is 1000000000"),
        ({"hidden_size": 40_000}, "describes a model of"),
        ({"vocab_size": 10**8}, "describes a model of"),
        ({"max_position_embeddings": 10**9}, "describes a model of"),
        ({"intermediate_size": 10**8}, "describes a model of"),
    ],
)
def test_settings_that_lead_elsewhere_are_refused(values: dict[str, Any], said: str, folder: Path) -> None:
    edit(folder / "config.json", **values)
    answer = refusal(lambda: load_backbone(str(folder), 0.0))
    assert said in answer
    assert answer.startswith("model.pretrained: ")


def sharded(folder: Path, name: str) -> None:
    """Weights in a shard that is called so."""
    weights = folder / "model.safetensors"
    keys = list(load_file(weights))
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(weights, place)
    index = {"metadata": {}, "weight_map": dict.fromkeys(keys, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_lie_beside_their_index(folder: Path) -> None:
    before = states(folder)
    whole = folder.with_name("whole")
    shutil.copytree(folder, whole)
    sharded(whole, "model-00001-of-00001.safetensors")
    assert torch.equal(states(whole), before)


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "{tmp}/absolute.safetensors", "a/b.safetensors"])
def test_shards_that_lie_elsewhere_are_refused(name: str, folder: Path, tmp_path: Path) -> None:
    sharded(folder, name.format(tmp=tmp_path))
    for load in (lambda: load_backbone(str(folder), 0.0), lambda: open_pretrained(str(folder))):
        said = refusal(load)
        assert "model.safetensors.index.json" in said
        assert "does not lie beside it" in said


def test_an_adapter_is_no_encoder(folder: Path) -> None:
    edit(folder / "adapter_config.json", base_model_name_or_path="/elsewhere", peft_type="LORA")
    assert "holds an adapter, which names another model" in refusal(lambda: load_backbone(str(folder), 0.0))
    (folder / "config.json").unlink()
    assert "holds an adapter" in refusal(lambda: open_pretrained(str(folder)))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "vocab.txt"])
def test_what_is_no_file_is_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert f"{name} of {folder} is no regular file" in refusal(lambda: load_backbone(str(folder), 0.0))
    assert f"{name} of {folder} is no regular file" in refusal(lambda: open_pretrained(str(folder)))


def test_a_tokenizer_reads_its_own_files(folder: Path, tmp_path: Path) -> None:
    before = open_pretrained(str(folder)).tokenizer.to_str()
    own = json.loads((folder / "tokenizer.json").read_text())
    own["model"]["vocab"]["evil"] = own["model"]["vocab"].pop("a")
    (tmp_path / "tokenizer.4.0.json").write_text(json.dumps(own))
    elsewhere = str(tmp_path / "tokenizer.4.0.json")
    edit(folder / "tokenizer_config.json", tokenizer_file=elsewhere, vocab_file=elsewhere, merges_file=elsewhere)
    assert open_pretrained(str(folder)).tokenizer.to_str() == before
    edit(folder / "tokenizer_config.json", fast_tokenizer_files=["../tokenizer.4.0.json"])
    assert "does not lie beside it" in refusal(lambda: open_pretrained(str(folder)))


def test_a_sentence_folder_lies_in_itself(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pooling").mkdir()
    edit(tmp_path / "pooling/config.json", pooling_mode_cls_token=True)
    for path in ("../pooling", str(tmp_path / "pooling")):
        modules = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": path}]
        (folder / "modules.json").write_text(json.dumps(modules))
        assert "does not lie in it" in refusal(lambda: read_folder(folder))


@pytest.mark.parametrize("name", ["tekken.json", "vocab.bpe", "qwen.tiktoken", "spiece.model", "x.jinja", "sub/y.json"])
def test_every_file_that_may_be_read_counts(name: str, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / name).write_text("a")
    encoder = Pretrained(PretrainedConfig(name=str(folder)))
    before = encoder.files()
    assert name in before
    (folder / name).write_text("b")
    assert Pretrained(PretrainedConfig(name=str(folder))).files() != before


def test_weights_that_are_never_read_do_not_count(folder: Path) -> None:
    before = Pretrained(PretrainedConfig(name=str(folder))).files()
    for name in ("pytorch_model.bin", "README.md", ".gitattributes"):
        (folder / name).write_text("x")
    assert Pretrained(PretrainedConfig(name=str(folder))).files() == before
