"""YAML of somebody else: within bounds, or one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from counterpoise.config.arguments import _options_of
from counterpoise.config.saved import saved_overrides
from counterpoise.config.yaml_files import LARGEST, read_yaml
from counterpoise.errors import UserError

ALIASES = "a: &a [x,x]\n" + "".join(
    f"{one}: &{one} [*{of},*{of}]\n" for of, one in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE: dict[str, bytes] = {
    "aliases": ALIASES.encode(),
    "one alias": b"- &a x\n- *a",
    "merge": b"a: &a {x: 1}\nb: {<<: *a}",
    "brackets": b"[" * 20_000,
    "braces": b"{a: " * 20_000,
    "dashes": b"- " * 3_000,
    "a number": b"- " + b"9" * 5_000,
    "a number in base 16": b"- 0x" + b"f" * 5_000,
    "a number in base 60": b"- " + b":".join([b"59"] * 5_000),
    "too large": b"- " + b"x" * LARGEST,
    "a tag": b"- !!python/object/apply:os.system ['true']",
    "a key twice": b"a: 1\na: 2",
    "a list as a key": b"? [a]\n: b",
    "a set": b"!!set {a}",
    "two documents": b"- a\n---\n- b",
    "no UTF-8": b"\xff\xfe\x00",
    "NUL": b"- a\0b",
    "no YAML": b"- [",
    "a number alone": b"3",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_run_writes_is_a_value_error_or_an_os_error(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(HOSTILE[kind])
    with pytest.raises((ValueError, OSError)):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("kind", [*HOSTILE, "text", "numbers", "nothing"])
def test_saved_files_of_a_run_are_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    others = {"text": b"x", "numbers": b"- a=1\n- 3", "nothing": b""}
    (tmp_path / ".hydra").mkdir()
    for name in ("overrides.yaml", "hydra.yaml"):
        (tmp_path / ".hydra" / name).write_bytes((HOSTILE | others)[kind])
    with pytest.raises(UserError, match=r"overrides\.yaml: (cannot be read|is not a list of overrides)") as caught:
        saved_overrides(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert _options_of(tmp_path) == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = {"a": ["x=${oc.env:HOME}", "3", ""], "b": {"c": None, "d": 1.5, "e": "- &a *a"}}
    (tmp_path / "a.yaml").write_text(OmegaConf.to_yaml(content))
    assert OmegaConf.to_container(read_yaml(tmp_path / "a.yaml"), resolve=False) == content
