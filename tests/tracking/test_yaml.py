"""Files of ``.hydra``: as OmegaConf writes them, but for characters that a terminal would obey."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from counterpoise.tracking.folder import _yaml
from hostile_names import NAMES, hidden


@pytest.mark.parametrize("name", [*NAMES.values(), "1e5", "yes", "${a}", "null", "é", " a: b #", "a\n\nb\n"])
def test_yaml_is_read_back_as_it_was(name: str) -> None:
    content = OmegaConf.create({"b": name, "c": [name, "1e5", "yes", None, 1.5, True], "d": {"e": f"\u202e{name}"}})
    text = _yaml(content)
    assert OmegaConf.create(text) == content
    assert not hidden(text)


def test_other_yaml_is_that_of_omegaconf() -> None:
    content = OmegaConf.create({"a": "é", "b": ["1e5", "x y"]})
    assert _yaml(content) == OmegaConf.to_yaml(content)
