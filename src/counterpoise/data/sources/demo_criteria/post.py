"""One post: everyday sentences, mentions of the criteria that apply, and decoys."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from random import Random

from counterpoise.data.sources.demo_criteria.criteria import AFFIRMED, CRITERIA, DENIED, FOLK, LEADS, NTH, OF_OTHERS
from counterpoise.data.sources.prose.counts import long_tailed, poisson
from counterpoise.data.sources.prose.everyday import EVERYDAY
from counterpoise.data.sources.prose.grammar import Grammar
from counterpoise.data.sources.prose.layout import Layout
from counterpoise.data.sources.prose.lexicon import LEXICON

LENGTHS = (25, 20_000)
"""Fewest and most words of a post, mentions and decoys aside."""
_NAMES = tuple(CRITERIA)
_WEIGHTS = tuple(criterion.weight for criterion in CRITERIA.values())
_LED = 0.5
"""Probability that a mention or a decoy is introduced by a sentence that names its topic."""
_MYSELF = {"self": "myself", "object": "me", "Ahis": "my"}
_THEMSELVES = {"self": "themselves", "object": "them", "Ahis": "my"}


@dataclass(frozen=True)
class Shape:
    """How posts are made."""

    median_words: int
    spread: float
    """Standard deviation of the logarithm of the length."""
    mentions: tuple[int, int]
    """Fewest and most mentions of a criterion that applies."""
    decoys: float
    """Mean number of decoys in a post."""


@dataclass
class Post:
    """A text, where it mentions which criterion, and where it only seems to."""

    text: str = ""
    mentions: dict[str, list[int]] = field(default_factory=dict)
    """Start and end of each mention in turn, by criterion."""
    decoys: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Insert:
    """A mention or a decoy, which stands where the words before it reach ``position``."""

    position: float
    criterion: str
    frame: str
    """``affirmed``, ``denied`` or ``of_others``."""


def make_post(true: frozenset[str], key: str, shape: Shape) -> Post:
    """Write one post.

    Neither the everyday sentences nor how often a criterion is spoken of in decoys depends on what is true.

    Args:
        true: the criteria that apply.
        key: seed.
        shape: how it is made.
    """
    rng, plan = Random(f"{key}/text"), Random(f"{key}/plan")
    target = long_tailed(shape.median_words, shape.spread, rng, LENGTHS)
    inserts = []
    for name in plan.choices(_NAMES, _WEIGHTS, k=poisson(shape.decoys, plan)):
        denied = plan.random() < 0.6 and name not in true  # nobody denies what they also say
        inserts.append(_Insert(plan.random() * target, name, "denied" if denied else "of_others"))
    for name in _NAMES:
        count = plan.randint(*shape.mentions) if name in true else 0
        inserts += [_Insert(plan.random() * target, name, "affirmed") for _ in range(count)]
    inserts.sort(key=lambda insert: insert.position, reverse=True)
    return _write(target, inserts, rng, Random(f"{key}/mentions"))


def _write(target: float, inserts: list[_Insert], rng: Random, own_rng: Random) -> Post:
    post, layout, written = Post(), Layout(), 0
    layout.add(grammar().draw("opening", rng, _MYSELF))
    while written < target or inserts:
        for _ in range(rng.randint(3, 8)):
            while inserts and inserts[-1].position <= written:
                _add(inserts.pop(), post, layout, own_rng)
            if written < target:
                sentence = grammar().draw("everyday", rng, _MYSELF)
                written += sentence.count(" ") + 1
                layout.add(sentence)
        layout.end_paragraph()
    layout.add(grammar().draw("closing", rng, _MYSELF))
    post.text = layout.text + "\n"
    return post


def _add(insert: _Insert, post: Post, layout: Layout, rng: Random) -> None:
    is_true = insert.frame == "affirmed"
    others = insert.frame == "of_others"
    rules = [f"{insert.criterion}_lead"] * (rng.random() < _LED) + [f"{insert.criterion}_{insert.frame}"]
    text = grammar().passage(rules, rng, _THEMSELVES if others else _MYSELF)
    spans = (post.mentions if is_true else post.decoys).setdefault(insert.criterion, [])
    spans += layout.add(text)


@cache
def grammar() -> Grammar:
    """All rules: everyday sentences, and every frame filled with every criterion's habits."""
    rules = LEXICON | EVERYDAY | {"nth": NTH, "folk": FOLK}
    for name, criterion in CRITERIA.items():
        rules |= {f"{name}_habit": criterion.habits, f"{name}_theme": criterion.themes}
        frames = {"affirmed": AFFIRMED, "denied": DENIED, "of_others": OF_OTHERS, "lead": LEADS}
        for frame, templates in frames.items():
            own = (re.sub("<(habit|theme)", rf"<{name}_\1", template) for template in templates)
            rules[f"{name}_{frame}"] = tuple(own)
    return Grammar(rules, tuple(_MYSELF))
