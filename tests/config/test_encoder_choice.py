"""The one group of which nothing may be chosen: who needs an encoder, and who brings one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from counterpoise.config import resolvers
from counterpoise.config.experiment import check
from counterpoise.data.encode.embeddings import Embeddings
from counterpoise.data.encode.tokens import Tokens
from counterpoise.data.encoders.hashing import Hashing
from counterpoise.data.encoders.lsa import LSA
from counterpoise.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        yield


def composed(*overrides: str) -> dict[str, Any]:
    config = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def problems(*overrides: str, **changed: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        check({**composed(*overrides), **changed})
    return [str(problem) for problem in caught.value.problems]


def test_a_model_brings_its_encoder_and_the_command_line_wins() -> None:
    assert check(composed("model=iris"))["encoder"].target is LSA
    for given in (["model=iris", "encoder=hashing"], ["encoder=hashing", "model=iris"]):
        assert check(composed(*given))["encoder"].target is Hashing
    assert "encoder" not in composed("model=textcnn")


def test_encoding_and_encoder_are_built_together() -> None:
    encoding = check(composed("model=iris", "encoder.size=7")).build_encoding()
    assert isinstance(encoding, Embeddings)
    assert isinstance(encoding.encoder, LSA)
    assert encoding.encoder.config.size == 7
    assert isinstance(check(composed("model=textcnn")).build_encoding(), Tokens)


def test_an_encoder_that_is_missing_is_one_problem() -> None:
    (said,) = problems("model=iris", encoder=None)
    assert said == "encoder: Embeddings needs one that embeds texts. Choose one, e.g. encoder=lsa."


def test_an_encoder_that_nothing_uses_is_one_problem() -> None:
    (said,) = problems("model=textcnn", "encoder=lsa")
    assert said == "encoder: Tokens uses none. Leave it out, or choose a model that reads embeddings."


def test_a_wrong_encoder_is_one_problem() -> None:
    (said,) = problems("model=iris", encoder={"_target_": "counterpoise.losses.CrossEntropy"})
    assert "is no TextEncoder" in said
    (said,) = problems("model=iris", "encoder.size=0")
    assert said.startswith("encoder.size: must be >= 1")
    (said,) = problems("model=iris", "encoder=pretrained")
    assert said.startswith("encoder.name: must be given")


OWN = """
from collections.abc import Sequence
from dataclasses import dataclass
import numpy as np
from counterpoise.data.encoders.base import TextEncoder

@dataclass(frozen=True, kw_only=True)
class LettersConfig:
    letters: str = "abc"

class Letters(TextEncoder):
    Config = LettersConfig

    @property
    def size(self):
        return len(self.config.letters)

    def encode(self, texts):
        return np.array([[text.count(letter) for letter in self.config.letters] for text in texts], np.float32)
"""


def test_an_encoder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_encoders", raising=False)
    (tmp_path / "my_encoders.py").write_text(OWN)
    own = {"_target_": "my_encoders.Letters", "letters": "xyz"}
    (said,) = problems("model=iris", encoder=own)
    assert "extensions=[my_encoders]" in said
    experiment = check({**composed("model=iris"), "encoder": own, "extensions": ["my_encoders"]})
    encoder = experiment.build_encoding().encoder
    assert encoder.encode(["xxz"]).tolist() == [[2, 0, 1]]
    assert encoder.key()["source"], "its code has no version: the file's checksum stands for it"
    (tmp_path / "my_encoders.py").write_text(OWN.replace("    def encode", "    def embed"))
    monkeypatch.delitem(sys.modules, "my_encoders")
    (said,) = problems("model=iris", encoder=own, extensions=["my_encoders"])
    assert "does not define encode()" in said
