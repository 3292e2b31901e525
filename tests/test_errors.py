"""Errors of the user: what they say, and that they survive a launcher's pickle."""

from __future__ import annotations

import pickle

import pytest

from counterpoise.errors import Problem, UserError, closest, escape_control, fail, missing_extra, nearest


def test_lists_every_problem_and_counts_those_that_were_not_kept() -> None:
    error = UserError([Problem("a.b", "is wrong.", "Do this."), Problem("c", "too.")], hidden=3)
    assert str(error).splitlines() == ["a.b: is wrong. Do this.", "c: too.", "... and 3 more"]


def test_is_the_same_after_pickling() -> None:
    class_before = UserError([Problem("a", "b", "c")], hidden=1)
    after = pickle.loads(pickle.dumps(class_before))
    assert (after.problems, after.hidden, str(after)) == (class_before.problems, 1, str(class_before))


def test_takes_one_problem_or_several_but_not_none() -> None:
    assert fail("a", "b").problems == (Problem("a", "b"),)
    assert UserError(problem for problem in [Problem("a", "b")]).problems == (Problem("a", "b"),)
    with pytest.raises(ValueError, match="at least one"):
        UserError([])


@pytest.mark.parametrize(
    ("name", "answer"),
    [("epoch", "Did you mean 'epochs'?"), ("zzz", "Valid names: epochs, lr."), ("LR", "Valid names: epochs, lr.")],
)
def test_names_the_nearest_or_all(name: str, answer: str) -> None:
    assert nearest(name, {"lr", "epochs"}) == answer


def test_says_nothing_where_nothing_is_near() -> None:
    assert nearest("x", []) == ""
    assert closest("zzz", ["lr"]) == ""


def test_a_missing_package_comes_with_the_command_that_installs_it() -> None:
    text = str(missing_extra("tracker", "tensorboard", "tensorboard"))
    assert text.startswith("tracker: ")
    assert 'pip install -c constraints.txt -e ".[tensorboard]"' in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain é 漢 🎼 עברית", "plain é 漢 🎼 עברית"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("a\u2028b\u202ec\u2066", "a\\u2028b\\u202ec\\u2066"),
        ("name-\udcff", "name-\\udcff"),
    ],
)
def test_what_moves_a_cursor_is_shown_as_an_escape(given: str, shown: str) -> None:
    assert escape_control(given) == shown


def test_a_problem_is_one_line_whatever_it_names() -> None:
    problem = Problem("data.path\n2026-01-01 INFO forged", "no such file: '\x1b]52;c;aGk=\x07'.", "Name\u2028another.")
    assert str(problem) == (
        "data.path\\n2026-01-01 INFO forged: no such file: '\\x1b]52;c;aGk=\\x07'. Name\\u2028another."
    )
