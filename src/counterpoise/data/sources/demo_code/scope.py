"""One function being written: its style, the names taken so far, its parameters and declarations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from counterpoise.data.sources.demo_code import vocabulary as words
from counterpoise.data.sources.demo_code.template import TemplateLine, render

MOST_PARAMETERS = 4
"""Inputs beyond these are read from the context."""
_UNMARKED = {"!": " ", "*": "-"}
_ROLE = re.compile(r"([A-Za-z]+)(\d*)")


class Line(NamedTuple):
    """A line of the function; ``mark`` says to which form it belongs, see :mod:`.template`."""

    mark: str
    text: str


class Scope:
    """Expands templates to lines and completes them to a function.

    Everything is drawn alike for both forms, so that they differ in the marked lines only.

    Args:
        rng: all randomness of this function.
        spread: probability that a slot of the deciding piece is filled.
        omitted: probability that what stands in the wrong place is missing instead.
        quiet: what slots are filled with.
    """

    def __init__(
        self, rng: Random, quiet: Sequence[tuple[TemplateLine, ...]], *, spread: float, omitted: float
    ) -> None:
        self._rng = rng
        self._spread = spread
        self._omitted = omitted
        self._quiet = quiet
        prefix, struct, context = rng.choice(words.CONTEXTS)
        self._context = rng.choice((context, context, "ctx", "self", "s"))
        self._parameters = [Line(" ", f"struct {struct} *{self._context}")]
        self._declared: list[Line] = []
        self._taken = {self._context, "rc"}
        self._defined: list[str] = []
        self._returns = rng.choice(("int", "int", "int", "int", "long", "bool", "void"))
        self._name = f"{prefix}_{rng.choice(words.VERBS)}_{rng.choice(words.NOUNS)}{rng.choice(words.TAILS)}"
        self._by_goto = self._returns != "void" and rng.random() < 0.2
        self._indent = rng.choice(("    ", "    ", "\t", "  "))
        self._allman = rng.random() < 0.1
        self._commented = rng.choice((0.0, 0.0, 0.0, 0.25))

    def expand(self, template: Sequence[TemplateLine], *, deciding: bool) -> list[Line]:
        """The lines of one piece: both forms where it decides, the repaired form alone elsewhere."""
        names: dict[str, str] = {}
        drawn: dict[str, list[str]] = {}
        lines: list[Line] = []
        if self._commented and self._rng.random() < self._commented:
            lines.append(Line(" ", self._comment()))
        absent = "-*?" if not deciding else "?" if self._rng.random() < self._omitted else ""
        for line in template:
            if line.mark in absent:
                continue
            if line.action == "slot":
                if deciding and self._rng.random() < self._spread:
                    lines += self.expand(self._rng.choice(self._quiet), deciding=False)
                continue
            mark = line.mark.replace("?", "-") if deciding else " "
            if line.action == "input":
                self._input(line, names, deciding)
                continue
            if line.source not in drawn:
                drawn[line.source] = self._write(line, names)
            if line.action == "declare":
                self._declared.append(Line(mark, drawn[line.source][0]))
                continue
            # Of a check that offends, the condition is the evidence and not what it guards.
            follow = mark if line.action == "fail" else _UNMARKED.get(mark, mark)
            texts = drawn[line.source]
            lines += [
                Line(mark if number == 0 else follow, self._indent * line.depth + text)
                for number, text in enumerate(texts)
            ]
        return lines

    def wrap(self, lines: Sequence[Line]) -> list[Line]:
        """The lines inside a condition on the context."""
        flag = self._rng.choice(words.CONSTANTS["FLAG"])
        test = self._rng.choice((f"{self._context}->flags & {flag}", f"{self._context}->state >= 0"))
        inner = [Line(line.mark, self._indent + line.text) for line in lines]
        return [Line(" ", f"if ({test}) {{"), *inner, Line(" ", "}")]

    def complete(self, body: Sequence[Line]) -> list[Line]:
        """The whole function around its body."""
        done = self._rng.choice(words.DONE_CODES[self._returns])
        ends = [Line(" ", f"return {done};")] if done else []
        declared = list(self._declared)
        self._rng.shuffle(declared)
        if self._by_goto:
            declared.insert(0, Line(" ", f"{self._returns} rc = {done};"))
            ends = [Line(" ", "return rc;")]
        inner = [*declared, Line(" ", ""), *body] if declared else list(body)
        label = [Line(" ", "out:")] if any("goto out;" in line.text for line in body) else []
        lines = [*self._head(), *self._inside(inner), *label, *self._inside(ends), Line(" ", "}")]
        return self._braced(lines)

    def _inside(self, lines: Sequence[Line]) -> list[Line]:
        return [Line(line.mark, self._indent + line.text if line.text else "") for line in lines]

    def _head(self) -> list[Line]:
        lines = [Line(" ", f"#define {name} {words.DEFINES[name]}") for name in self._defined]
        lines += [Line(" ", "")] if lines else []
        if self._rng.random() < 0.15:
            lines.append(Line(" ", f"/* {self._rng.choice(words.COMMENTS)} */"))
        static = "static " if self._rng.random() < 0.6 else ""
        head = f"{static}{self._returns} {self._name}("
        if all(line.mark == " " for line in self._parameters):
            return [*lines, Line(" ", head + ", ".join(line.text for line in self._parameters) + ")"), Line(" ", "{")]
        for mark in "-+":
            shown = [line.text for line in self._parameters if line.mark in (" ", mark)]
            lines.append(Line(mark, head + ", ".join(shown) + ")"))
        return [*lines, Line(" ", "{")]

    def _braced(self, lines: Sequence[Line]) -> list[Line]:
        """Opening braces on a line of their own, where this function is written so."""
        if not self._allman:
            return list(lines)
        out: list[Line] = []
        for line in lines:
            if line.text.endswith(" {"):
                space = line.text[: len(line.text) - len(line.text.lstrip())]
                follow = _UNMARKED.get(line.mark, line.mark)
                out += [Line(line.mark, line.text[:-2]), Line(follow, space + "{")]
            else:
                out.append(line)
        return out

    def _write(self, line: TemplateLine, names: dict[str, str]) -> list[str]:
        text = render(line.pieces[0], lambda role: self._name_of(role, names), self._rng)
        if line.action == "fail_if":
            return self._fail_if(text)
        if line.action == "fail":
            return self._fail()
        return [text]

    def _fail(self) -> list[str]:
        code = self._rng.choice(words.FAIL_CODES[self._returns])
        if self._by_goto:
            return [f"rc = {code};", "goto out;"]
        return [f"return {code};" if code else "return;"]

    def _fail_if(self, condition: str) -> list[str]:
        inner = self._fail()
        draw = self._rng.random()
        if draw < 0.08:
            inner.insert(
                0, f'{self._rng.choice(words.CONSTANTS["LOG"])}("{self._rng.choice(words.CONSTANTS["PHRASE"])}\\n");'
            )
        elif draw < 0.14:
            inner.insert(0, f"{self._context}->{self._rng.choice(words.CONSTANTS['STAT'])}++;")
        inner = [self._indent + text for text in inner]
        if len(inner) > 1 or draw > 0.85:
            return [f"if ({condition}) {{", *inner, "}"]
        return [f"if ({condition})", *inner]

    def _comment(self) -> str:
        text = self._rng.choice(words.COMMENTS)
        return f"/* {text} */" if self._rng.random() < 0.7 else f"// {text}"

    def _input(self, line: TemplateLine, names: dict[str, str], deciding: bool) -> None:
        """A parameter, or a local that is read from the context."""
        either, repaired, named = line.pieces
        name = render(named, lambda role: self._name_of(role, names), self._rng)
        before, after = (
            render(kind, lambda role: self._name_of(role, names), self._rng) for kind in (either, repaired)
        )
        forms = [(" ", after)] if before == after or not deciding else [("-", before), ("+", after)]
        as_parameter = len(self._parameters) < MOST_PARAMETERS and self._rng.random() < 0.6
        free = [field for field in words.FIELDS.get(after, ()) if field not in self._taken]
        field = self._rng.choice(free) if free and not as_parameter else None
        self._taken |= {field} if field else set()
        for form, kind in forms:
            declared = f"{kind}{name}" if kind.endswith("*") else f"{kind} {name}"
            if field is None:
                self._parameters.append(Line(form, declared))
            else:
                self._declared.append(Line(form, f"{declared} = {self._context}->{field};"))

    def _name_of(self, role: str, names: dict[str, str]) -> str:
        if role == "ctx":
            return self._context
        if role not in names:
            match = _ROLE.match(role)
            base = match.group(1) if match else role
            names[role] = self._fresh(base) if base in words.VARIABLES else self._constant(base)
        return names[role]

    def _fresh(self, role: str) -> str:
        pool = words.VARIABLES[role]
        for _ in range(4):
            name = pool[int(self._rng.random() * len(pool))]
            if name not in self._taken:
                break
        number = 2
        base = name
        while name in self._taken:
            name, number = f"{base}{number}", number + 1
        self._taken.add(name)
        return name

    def _constant(self, role: str) -> str:
        pool = words.CONSTANTS[role]
        value = pool[int(self._rng.random() * len(pool))]
        if value in words.DEFINES and value not in self._defined and self._rng.random() < 0.3:
            self._defined.append(value)
        return value
