"""What cannot be loaded by name is told in words of a user, not in those of the hub's client."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoise import hub

JARGON = OSError("Repo id must use alphanumeric chars.\nTo enable look-ups, pass local_files_only=False")


@pytest.mark.parametrize("name", ["./mistyped", "~/mistyped", "/mistyped", "../a", "models/mine/last"])
def test_a_mistyped_folder(name: str) -> None:
    assert hub.why_not_loaded(name, JARGON) == "there is no such folder"


@pytest.mark.parametrize("name", ["bert-base", "owner/name"])
def test_a_name_without_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "the hub cannot be reached, and its cache does not hold it" in hub.why_not_loaded(name, JARGON)


def test_what_the_hub_answers_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "only_local", lambda name: False)
    assert hub.why_not_loaded("owner/name", OSError("404: no such model.\nmore")) == "404: no such model"


def test_a_folder_that_is_there_is_damaged(tmp_path: Path) -> None:
    assert hub.why_not_loaded(str(tmp_path), ValueError("no config.json.")) == "no config.json"
    assert hub.why_not_loaded(str(tmp_path), ValueError("")) == "ValueError"
