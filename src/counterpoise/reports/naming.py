"""Names of configurations: the model, and what distinguishes it from others of the same model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from counterpoise.config.experiment import FREE
from counterpoise.reports.jobs import REPEATS

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
    return list(zip(_unique(names), distinct, strict=True))


def _typed(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    for item in overrides:
        key, _, value = item.lstrip("+").partition("=")
        if key not in NAMELESS and not key.startswith(("hydra.", "hydra/", *FREE)):
            yield key, value


def _unshared(each: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Without the entries that all have."""
    first, *others = each
    shared = {key for key, value in first.items() if all(other.get(key) == value for other in others)}
    return [{key: value for key, value in one.items() if key not in shared} for one in each]


def _tell_apart(each: Sequence[Mapping[str, str]]) -> bool:
    return len({frozenset(one.items()) for one in each}) == len(each)


def _name(title: str, settings: Mapping[str, str]) -> str:
    shown = [f"{key}={value}" for key, value in settings.items()]
    more = [f"and {len(shown) - MOST_SHOWN} more"] if len(shown) > MOST_SHOWN else []
    return " ".join([title, *shown[:MOST_SHOWN], *more])


def _unique(names: Sequence[str]) -> list[str]:
    """Numbers behind names that occur twice."""
    taken: set[str] = set()
    answer = []
    for name in names:
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name} ({number})"
        taken.add(unique)
        answer.append(unique)
    return answer
