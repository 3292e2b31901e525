"""Names of configurations: the model, and what distinguishes it from others of the same model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from counterpoise.config.experiment import FREE
from counterpoise.reports.jobs import REPEATS, key_of

NAMELESS = ("model", "data", "sweep", *REPEATS)
"""Overrides that the name says by itself, or that repetitions differ in."""
MOST_SHOWN = 4
"""Settings that a name lists; of more it has a number."""


@dataclass(frozen=True)
class Named:
    """What a name is made of."""

    overrides: Sequence[str]
    """As they were typed."""
    settings: Mapping[str, str]
    """The config by dotted key."""


def name_all(model: str, configurations: Sequence[Named]) -> list[tuple[str, dict[str, str]]]:
    """A name for each configuration of one model, all different, and the settings that distinguish it.

    The overrides that not all share, where these tell them apart; else the keys of the config that differ.
    """
    title = model or "unknown model"
    if len(configurations) == 1:
        return [(title, {})]
    typed = _unshared([dict(_typed(each.overrides)) for each in configurations])
    distinct = typed if _tell_apart(typed) else _unshared([dict(each.settings) for each in configurations])
    names = [_name(title, settings) for settings in distinct]
    return list(zip(unique(names), distinct, strict=True))


def _typed(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    for item in overrides:
        key, value = key_of(item), item.partition("=")[2]
        if key not in NAMELESS and not key.startswith(("hydra.", "hydra/", *FREE)):
            yield (f"~{key}" if item.startswith("~") else key), value


def _unshared(each: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Without the entries that all have."""
    first, *others = each
    shared = {key for key, value in first.items() if all(other.get(key) == value for other in others)}
    return [{key: value for key, value in one.items() if key not in shared} for one in each]


def _tell_apart(each: Sequence[Mapping[str, str]]) -> bool:
    return len({frozenset(one.items()) for one in each}) == len(each)


def _name(title: str, settings: Mapping[str, str]) -> str:
    shown = [key if key.startswith("~") else f"{key}={value}" for key, value in settings.items()]
    more = [f"and {len(shown) - MOST_SHOWN} more"] if len(shown) > MOST_SHOWN else []
    return " ".join([title, *shown[:MOST_SHOWN], *more])


def unique(names: Sequence[str]) -> list[str]:
    """Numbers behind names that occur twice."""
    taken: set[str] = set()
    answer = []
    for name in names:
        number, numbered = 1, name
        while numbered in taken:
            number += 1
            numbered = f"{name} ({number})"
        taken.add(numbered)
        answer.append(numbered)
    return answer


def tell_apart(facts: Sequence[Sequence[str]]) -> list[str]:
    """A name for each of several things, all different.

    Args:
        facts: of each its name, and then, in the same order for all, what may tell it from others of the same name;
            empty where it is not known.

    Returns:
        the names, with those facts in brackets that tell equal ones apart, the first ones first; with a number where
        nothing does.
    """
    names = [each[0] for each in facts]
    told: list[list[str]] = [[] for _ in facts]
    for place in range(1, len(facts[0]) if facts else 0):
        values: dict[str, set[str]] = {}
        for name, each in zip(names, facts, strict=True):
            values.setdefault(name, set()).add(each[place])
        for shown, name, each in zip(told, names, facts, strict=True):
            shown += [each[place]] if len(values[name]) > 1 and each[place] else []
        names = [
            f"{each[0]} ({', '.join(shown)})" if shown else each[0] for shown, each in zip(told, facts, strict=True)
        ]
    return unique(names)
