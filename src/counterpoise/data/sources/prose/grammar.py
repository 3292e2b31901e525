"""A grammar of templates, from which sentences are drawn.

A template is text with two kinds of placeholders::

    <noun>        one of the templates of the rule ``noun``, or what the caller has bound to that name
    <noun2>       the same, drawn once: wherever ``<noun2>`` stands in one expansion, it is the same text
    [a|b|]        one of these, all equally likely; they may nest, and one may be empty

What is drawn is tidied: runs of blanks become one, ``a`` becomes ``an`` before a vowel, sentences begin with a capital.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

_MARKS = re.compile(r"[\[\]|]|<[A-Za-z_]+\d*>")
_BLANKS = re.compile(r" +(?=[,.;:?!])|(?<= ) +")
_ARTICLE = re.compile(r"\b([Aa]) (?=(?!one\b|once\b|uni[fovqt]|us[eu]|eu)[aeiou]|hour|honest)")
_START = re.compile(r'(^["\']?|[.!?] ["\']?|\.["\'] ["\']?)([a-z])')


@dataclass(frozen=True)
class Symbol:
    """A placeholder: its full name, the rule that it draws from, and whether it is drawn once only."""

    name: str
    rule: str
    kept: bool


Part = str | Symbol | tuple["Template", ...]
"""Text, a placeholder, or alternatives."""
Template = tuple[Part, ...]


def compile_template(text: str) -> Template:
    """Parse one template.

    Raises:
        ValueError: for brackets that do not match, or a ``|`` outside of them.
    """
    open_choices: list[list[list[Part]]] = []
    parts: list[Part] = []
    position = 0
    for match in [*_MARKS.finditer(text), None]:
        end = match.start() if match else len(text)
        if end > position:
            parts.append(text[position:end])
        if match is None:
            break
        position, mark = match.end(), match.group()
        if mark == "[":
            open_choices.append([parts])
            parts = []
        elif mark.startswith("<"):
            name = mark[1:-1]
            rule = name.rstrip("0123456789")
            parts.append(Symbol(name, rule, rule != name))
        elif not open_choices:
            raise ValueError(f"{mark!r} outside of brackets in template {text!r}")
        else:
            open_choices[-1].append(parts)
            parts = []
            if mark == "]":
                outside, *choices = open_choices.pop()
                parts = [*outside, tuple(tuple(choice) for choice in choices)]
    if open_choices:
        raise ValueError(f"'[' without ']' in template {text!r}")
    return tuple(parts)


class Grammar:
    """Rules by name, each a list of templates of which one is drawn.

    Args:
        rules: templates by rule.
        bound: names that every caller of :meth:`draw` binds, and that need no rule.

    Raises:
        ValueError: for a broken template, an empty rule, or a placeholder without a rule.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]], bound: Sequence[str] = ()) -> None:
        self._rules = {name: tuple(compile_template(text) for text in texts) for name, texts in rules.items()}
        for name, templates in self._rules.items():
            if not templates:
                raise ValueError(f"rule {name!r} has no template")
            unknown = {symbol.name for template in templates for symbol in _symbols(template)}
            unknown = {symbol for symbol in unknown if symbol not in bound and symbol.rstrip("0123456789") not in rules}
            if unknown:
                raise ValueError(f"rule {name!r} has placeholders without a rule: {', '.join(sorted(unknown))}")

    def draw(self, rule: str, rng: Random, bound: Mapping[str, str] | None = None) -> str:
        """Draw one text of a rule, tidied.

        Args:
            rule: its name.
            rng: decides.
            bound: texts by name, which come before rules.
        """
        return self.passage((rule,), rng, bound)

    def passage(self, rules: Sequence[str], rng: Random, bound: Mapping[str, str] | None = None) -> str:
        """Draw a text of each of these rules, from one template once only, and what is drawn once from all together.

        A rule that has no template left is passed over.

        Args:
            rules: their names, which may repeat.
            rng: decides.
            bound: texts by name, which come before rules.
        """
        known = dict(bound or {})
        used: set[tuple[str, int]] = set()
        sentences = []
        for rule in rules:
            options = self._rules[rule]
            free = [index for index in range(len(options)) if (rule, index) not in used]
            if free:
                index = free[int(rng.random() * len(free))]
                used.add((rule, index))
                out: list[str] = []
                self._write(options[index], rng, known, out)
                sentences.append(tidy("".join(out)))
        return " ".join(sentences)

    def _write(self, template: Template, rng: Random, bound: dict[str, str], out: list[str]) -> None:
        for part in template:
            if isinstance(part, str):
                out.append(part)
            elif isinstance(part, tuple):
                self._write(part[int(rng.random() * len(part))], rng, bound, out)
            elif part.name in bound:
                out.append(bound[part.name])
            else:
                options = self._rules[part.rule]
                chosen = options[int(rng.random() * len(options))]
                if not part.kept:
                    self._write(chosen, rng, bound, out)
                    continue
                text: list[str] = []
                self._write(chosen, rng, bound, text)
                bound[part.name] = "".join(text)
                out.append(bound[part.name])


def tidy(text: str) -> str:
    """Blanks, articles and capitals as they are written."""
    text = _ARTICLE.sub(r"\1n ", _BLANKS.sub("", text.strip()))
    return _START.sub(lambda match: match.group(1) + match.group(2).upper(), text)


def words(text: str) -> tuple[str, ...]:
    """A list of words, written with blanks between."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """A list of phrases or templates, one a line or with semicolons between."""
    return tuple(" ".join(phrase.split()) for line in text.splitlines() for phrase in line.split(";") if phrase.strip())


def lines(text: str) -> tuple[str, ...]:
    """A list of templates, one a line."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _symbols(template: Template) -> Iterator[Symbol]:
    for part in template:
        if isinstance(part, Symbol):
            yield part
        elif isinstance(part, tuple):
            for choice in part:
                yield from _symbols(choice)
