"""One tale: neutral scenes of a cast, decoys all over, and the few passages that decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from random import Random

from counterpoise.data.sources.demo_documents.kinds import Kind
from counterpoise.data.sources.demo_documents.mature import MATURE
from counterpoise.data.sources.demo_documents.teen import TEEN
from counterpoise.data.sources.prose.counts import long_tailed, poisson
from counterpoise.data.sources.prose.grammar import Grammar
from counterpoise.data.sources.prose.layout import Layout
from counterpoise.data.sources.prose.lexicon import LEXICON, MEN, WOMEN
from counterpoise.data.sources.prose.story import CAST, STORY

KINDS: dict[str, dict[str, Kind]] = {"teen": TEEN, "mature": MATURE}
"""Kinds of passages by the class that they decide for, the milder first."""
LENGTHS = (60, 40_000)
"""Fewest and most words of a tale."""
Span = tuple[int, int]


@dataclass(frozen=True)
class Shape:
    """How tales are made."""

    median_words: int
    spread: float
    """Standard deviation of the logarithm of the length."""
    passages: tuple[int, int]
    """Fewest and most passages of the tale's own class."""
    decoys: float
    """Mean number of decoys in 1,000 words."""


@dataclass
class Tale:
    """A text, and where in it the passages and the decoys stand."""

    text: str = ""
    passages: list[tuple[str, Span]] = field(default_factory=list)
    """Class that they decide for, and their characters."""
    decoys: list[Span] = field(default_factory=list)

    def evidence(self, rating: str) -> list[int]:
        """Start and end of each passage of this class, in turn."""
        return [place for kind, span in self.passages if kind == rating for place in span]


@dataclass(frozen=True)
class _Insert:
    """Something that stands where the words before it reach ``position``."""

    position: float
    rating: str
    kind: str
    is_decoy: bool
    sentences: int


def make_tale(rating: str, key: str, shape: Shape) -> Tale:
    """Write one tale.

    What is neutral in it does not depend on its class: two tales of one key differ in their passages only.

    Args:
        rating: its class, one of :data:`KINDS` or a milder one.
        key: seed.
        shape: how it is made.
    """
    rng = Random(f"{key}/text")
    target = long_tailed(shape.median_words, shape.spread, rng, LENGTHS)
    inserts = [*_decoys(target, shape, rng), *_passages(rating, target, shape, Random(f"{key}/plan"))]
    inserts.sort(key=lambda insert: insert.position)
    return _Writer(rng, Random(f"{key}/passages"), inserts).write(target)


def _decoys(target: float, shape: Shape, rng: Random) -> Iterator[_Insert]:
    for _ in range(poisson(shape.decoys * target / 1000, rng)):
        rating = rng.choice(list(KINDS))
        kind = rng.choice(list(KINDS[rating]))
        yield _Insert(rng.random() * target, rating, kind, True, rng.choice((1, 1, 1, 2)))


def _passages(rating: str, target: float, shape: Shape, rng: Random) -> Iterator[_Insert]:
    if rating not in KINDS:
        return
    counts = {rating: rng.randint(*shape.passages)}
    for milder in list(KINDS)[: list(KINDS).index(rating)]:
        counts[milder] = rng.choice((0, 0, 1, 2))
    for each, count in counts.items():
        for _ in range(count):
            kind = rng.choice(list(KINDS[each]))
            yield _Insert(rng.random() * target, each, kind, False, rng.choice((1, 2, 2, 3, 4)))


class _Writer:
    """Scenes in turn, with what is to be inserted in its places."""

    def __init__(self, rng: Random, passage_rng: Random, inserts: list[_Insert]) -> None:
        self._rng = rng
        self._passage_rng = passage_rng
        self._inserts = inserts[::-1]
        self._layout = Layout()
        self._tale = Tale()
        self._written = 0
        people = [(name, ("she", "her", "her")) for name in rng.sample(WOMEN, 4)]
        people += [(name, ("he", "him", "his")) for name in rng.sample(MEN, 4)]
        self._people = rng.sample(people, rng.randint(4, 7))

    def write(self, target: float) -> Tale:
        rng = self._rng
        while self._written < target:
            cast = self._cast()
            for _ in range(rng.randint(2, 5)):
                self._paragraph(cast, target)
        self._insert(cast, float("inf"))
        self._tale.text = self._layout.text + "\n"
        return self._tale

    def _cast(self) -> dict[str, str]:
        """Two of the people, and the words for them."""
        cast = {}
        for role, (name, pronouns) in zip("AB", self._rng.sample(self._people, 2), strict=True):
            cast[role] = name
            cast |= dict(zip((f"{role}he", f"{role}him", f"{role}his"), pronouns, strict=True))
        return cast

    def _paragraph(self, cast: dict[str, str], target: float) -> None:
        for index in range(self._rng.randint(2, 6)):
            if self._written >= target:
                break
            self._insert(cast, self._written)
            subject = cast["A"] if index == 0 or self._rng.random() < 0.4 else cast["Ahe"]
            sentence = grammar().draw("story", self._rng, {**cast, "S": subject})
            self._written += sentence.count(" ") + 1
            self._layout.add(sentence)
        self._layout.end_paragraph()

    def _insert(self, cast: dict[str, str], reached: float) -> None:
        while self._inserts and self._inserts[-1].position <= reached:
            insert = self._inserts.pop()
            rng = self._rng if insert.is_decoy else self._passage_rng
            # A passage names its person more often, for what stood before it may have been about another.
            bound = {**cast, "S": cast["A"] if rng.random() < 0.6 else cast["Ahe"]}
            first, others = ("decoy", "decoy") if insert.is_decoy else ("core", "after")
            rules = [f"{insert.kind}_{first}", *[f"{insert.kind}_{others}"] * (insert.sentences - 1)]
            sentences = grammar().passage(rules, rng, bound)
            span = self._layout.add(sentences)
            if insert.is_decoy:
                self._tale.decoys.append(span)
                self._written += sentences.count(" ") + 1
            else:
                self._tale.passages.append((insert.rating, span))


@cache
def grammar() -> Grammar:
    """All rules: those of stories, and of every kind of passage."""
    rules = LEXICON | STORY
    for kinds in KINDS.values():
        for name, kind in kinds.items():
            own = {f"{name}_core": kind.cores, f"{name}_after": kind.after, f"{name}_decoy": kind.decoys}
            added = own | kind.words | kind.rules
            taken = sorted(added.keys() & rules.keys())
            if taken:
                raise ValueError(f"kind {name!r} has rules of names that are taken: {', '.join(taken)}")
            rules = rules | added
    return Grammar(rules, CAST)
