"""Functions put together: a signature, declarations, and one deciding piece among harmless ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from counterpoise.data.sources.demo_code.bounds import BOUNDS
from counterpoise.data.sources.demo_code.checks import CHECKS
from counterpoise.data.sources.demo_code.fillers import FILLERS, QUIET
from counterpoise.data.sources.demo_code.lifetime import LIFETIME
from counterpoise.data.sources.demo_code.scope import Line, Scope
from counterpoise.data.sources.demo_code.template import TemplateLine, compile_template

KINDS: dict[str, tuple[str, ...]] = BOUNDS | LIFETIME | CHECKS
"""Every kind of weakness to its patterns."""


@dataclass(frozen=True)
class Shape:
    """How functions are made around their deciding piece."""

    fillers: tuple[int, int]
    """Fewest and most harmless pieces."""
    decoys: tuple[int, int]
    """Fewest and most repaired pieces of other kinds."""
    spread: float
    """Probability that harmless statements stand between the lines that decide."""
    omitted: float
    """Probability that what a vulnerable form has in the wrong place is missing from it altogether."""
    wrapped: float = 0.15
    """Probability that the deciding piece stands inside a condition."""


@dataclass(frozen=True)
class Function:
    """The text of one function and the 1-based lines that decide, none in a repaired one."""

    text: str
    evidence: tuple[int, ...]


@dataclass(frozen=True)
class Twins:
    """The same function in both forms."""

    kind: str
    vulnerable: Function
    repaired: Function


def shape_of(*, is_long: bool, spread: float, omitted: float, decoys: int) -> Shape:
    """The shape of a usual or of a long function."""
    if is_long:
        return Shape(fillers=(12, 16), decoys=(6, 8), spread=spread, omitted=omitted)
    return Shape(fillers=(0, 2), decoys=(0, decoys), spread=spread, omitted=omitted)


def make_twins(kind: str, rng: Random, shape: Shape) -> Twins:
    """Draw one function with a weakness of this kind, and its repaired form."""
    scope = Scope(rng, _compiled(QUIET), spread=shape.spread, omitted=shape.omitted)
    others = [name for name in KINDS if name != kind]
    decoys = rng.sample(others, rng.randint(*shape.decoys))
    pieces = [rng.choice(_compiled(rng.choice((QUIET, FILLERS)))) for _ in range(rng.randint(*shape.fillers))]
    pieces += [_pick(KINDS[name], rng) for name in decoys]
    rng.shuffle(pieces)
    place = rng.randint(0, len(pieces))
    body: list[Line] = []
    for piece in pieces[:place]:
        body += scope.expand(piece, deciding=False)
    deciding = scope.expand(_pick(KINDS[kind], rng), deciding=True)
    body += scope.wrap(deciding) if rng.random() < shape.wrapped else deciding
    for piece in pieces[place:]:
        body += scope.expand(piece, deciding=False)
    lines = scope.complete(body)
    return Twins(kind, _function(lines, "-*"), _function(lines, "+"))


def _pick(patterns: tuple[str, ...], rng: Random) -> tuple[TemplateLine, ...]:
    """A pattern of a kind; the earlier ones are the more common."""
    usual = [3.0**-position for position in range(len(patterns))]
    return rng.choices(_compiled(patterns), usual)[0]


@cache
def _compiled(templates: tuple[str, ...]) -> tuple[tuple[TemplateLine, ...], ...]:
    return tuple(compile_template(template) for template in templates)


def _function(lines: Sequence[Line], own: str) -> Function:
    """The form that consists of the common lines and of those with the marks ``own``."""
    kept = [line for line in lines if line.mark in own or line.mark in " !"]
    offending = "*!" if "*" in own else ""
    evidence = tuple(number for number, line in enumerate(kept, 1) if line.mark in offending)
    return Function("\n".join(line.text for line in kept) + "\n", evidence)
