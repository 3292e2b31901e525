"""What is drawn is drawn once for all jobs of a process, and no run can spoil it for the next."""

from __future__ import annotations

import dataclasses

import pytest

from counterpoise.data.sources.demo_code import DemoCode, DemoCodeConfig
from counterpoise.data.sources.demo_criteria import DemoCriteriaConfig
from counterpoise.data.sources.demo_documents import DemoDocumentsConfig
from counterpoise.data.sources.drawn import KEPT, DrawnConfig, first_unseen

SMALL = DemoCodeConfig(size=60)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the data sets that are drawn."""
    sizes: list[int] = []
    draw = DemoCode.draw

    def counted(source: DemoCode):  # type: ignore[no-untyped-def]
        sizes.append(source.config.size)
        return draw(source)

    monkeypatch.setattr(DemoCode, "draw", counted)
    monkeypatch.setattr(DemoCode, "_drawn", type(DemoCode._drawn)())
    return sizes


def test_the_same_config_is_drawn_once(drawn: list[int]) -> None:
    first, second = DemoCode(SMALL).load(), DemoCode(dataclasses.replace(SMALL)).load()
    assert drawn == [60]
    assert first.train is second.train


def test_another_config_is_another_data_set(drawn: list[int]) -> None:
    texts = {DemoCode(dataclasses.replace(SMALL, data_seed=seed)).load().train.texts[0] for seed in (0, 1)}
    assert (len(texts), drawn) == (2, [60, 60])


def test_no_more_than_the_last_ones_are_kept(drawn: list[int]) -> None:
    for size in [60, *range(61, 61 + KEPT), 60]:
        DemoCode(DemoCodeConfig(size=size)).load()
    assert drawn == [60, *range(61, 61 + KEPT), 60]


def test_what_a_run_notes_is_not_told_of_the_next(drawn: list[int]) -> None:
    before = DemoCode(SMALL).load()
    before.notes["leakage"] = {"test": 3}
    before.notes["weaknesses"]["train"].clear()
    after = DemoCode(SMALL).load()
    assert "leakage" not in after.notes
    assert after.notes["weaknesses"]["train"]


@pytest.mark.parametrize("schema", [DemoCodeConfig, DemoCriteriaConfig, DemoDocumentsConfig])
def test_shares_must_leave_something_to_train_on(schema: type[DrawnConfig]) -> None:
    (problem,) = schema(valid_share=0.5, test_share=0.5).problems()
    assert str(problem) == "test_share: with valid_share=0.5 and test_share=0.5 nothing is left to train on."


def test_repetitions_are_drawn_again_and_end() -> None:
    seen = {"0", "1"}
    assert first_unseen(lambda attempt: attempt, lambda number: {str(number)}, seen) == 2
    assert seen == {"0", "1", "2"}
    assert first_unseen(lambda attempt: 0, lambda number: {str(number)}, seen) is None
