"""The demo set of source code: C functions written by a generator, vulnerable or repaired.

Each function holds one piece that decides (:data:`.assembly.KINDS`) among harmless ones. The vulnerable and the
repaired form of a piece differ only in what matters: the place of a check, the variable it checks, a bound, an order.
The same signs stand everywhere in harmless roles, so counting words says little and reading the code says much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, ClassVar

from counterpoise.config.schema import NON_NEGATIVE, SHARE, Range
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.base import SourceConfig
from counterpoise.data.sources.demo_code.assembly import KINDS, Twins, make_twins, shape_of
from counterpoise.data.sources.drawn import DrawnConfig, DrawnSource, first_unseen
from counterpoise.errors import Problem, fail, nearest

CLASSES = ("safe", "vulnerable")


@dataclass(frozen=True, kw_only=True)
class DemoCodeConfig(DrawnConfig):
    """How many functions, of what kinds, and how hard."""

    size: Annotated[int, Range(ge=8, le=1_000_000)] = 8000
    """Functions in all splits together."""
    positive_share: Annotated[float, Range(gt=0, lt=1)] = 0.458
    """Share of vulnerable functions, exact to rounding in every split."""
    weaknesses: Annotated[dict[str, float] | None, NON_NEGATIVE] = None
    """Relative weight by kind of weakness, kinds not named being left out; null mixes all kinds equally."""
    long_share: Annotated[float, SHARE] = 0.02
    """Share of functions that are made long, past 512 tokens of a byte-level BPE."""
    spread: Annotated[float, SHARE] = 0.1
    """Probability that harmless statements stand between the lines that decide; more is harder."""
    omitted: Annotated[float, SHARE] = 0.5
    """Probability that a check in the wrong place is left out altogether; less is harder for counting words."""
    decoys: Annotated[int, Range(ge=0, le=8)] = 1
    """Most correctly guarded pieces of other kinds in a function that is not long; more is harder."""

    def problems(self) -> Iterator[Problem]:
        """What cannot be generated."""
        for kind in sorted(set(self.weaknesses or ()) - set(KINDS)):
            yield Problem(f"weaknesses.{kind}", "unknown kind of weakness.", nearest(kind, KINDS))
        if self.weaknesses is not None and not sum(self.weaknesses.values()):
            yield Problem("weaknesses", "needs at least one kind with a weight above 0.", "null mixes all kinds.")
        lacking = list(self.share_problems())
        if lacking:
            yield from lacking
            return
        for split, (safe, vulnerable) in self.class_counts().items():
            if min(safe, vulnerable) < 1:
                message = f"the {split} split would hold {safe} safe and {vulnerable} vulnerable functions."
                yield Problem(
                    "size", message, "Raise size or the split's share, or bring positive_share nearer to 0.5."
                )

    def class_counts(self) -> dict[str, tuple[int, int]]:
        """Safe and vulnerable functions of each split that exists."""
        valid, test = round(self.size * self.valid_share), round(self.size * self.test_share)
        sizes = {"train": self.size - valid - test, "valid": valid}
        sizes |= {"test": test} if self.test_share else {}
        positives = {split: round(size * self.positive_share) for split, size in sizes.items()}
        return {split: (size - positives[split], positives[split]) for split, size in sizes.items()}


class DemoCode(DrawnSource):
    """C functions in a vulnerable or a repaired form.

    ``evidence`` holds the lines that offend: the unguarded use, the wrong bound, the exit that leaks. It is empty for
    repaired functions. ``Dataset.notes`` counts the kinds of weakness by split and form.
    """

    Config: ClassVar[type[SourceConfig]] = DemoCodeConfig
    config: DemoCodeConfig

    def draw(self) -> Dataset:
        """Generate all splits."""
        seen: set[str] = set()
        kinds: dict[str, dict[str, dict[str, int]]] = {}
        splits: dict[str, Records] = {}
        first_row = 0
        for split, counts in self.config.class_counts().items():
            splits[split], kinds[split] = self._split(split, counts, first_row, seen)
            first_row += sum(counts)
        splits["train"], flipped = self._with_noise(splits["train"])
        notes: dict[str, Any] = {"weaknesses": kinds, "flipped_train_labels": flipped}
        return Dataset("demo_code", splits["train"], splits["valid"], splits.get("test"), notes, language="c")

    def _split(
        self, split: str, counts: tuple[int, int], first_row: int, seen: set[str]
    ) -> tuple[Records, dict[str, dict[str, int]]]:
        plan = self._plan(split, counts)
        columns: dict[str, list[Any]] = {"row": [], "text": [], "label": [], "evidence": []}
        for row, (label, kind, is_long) in enumerate(plan, first_row):
            twins = self._unseen(row, kind, is_long, seen)
            function = twins.vulnerable if label else twins.repaired
            for column, value in zip(columns, (row, function.text, label, function.evidence), strict=True):
                columns[column].append(value)
        drawn = Counter((kind, label) for label, kind, _ in plan)
        forms = {kind: {"repaired": drawn[kind, 0], "vulnerable": drawn[kind, 1]} for kind in self._weights()}
        return Records.from_columns(columns, CLASSES), forms

    def _plan(self, split: str, counts: tuple[int, int]) -> list[tuple[int, str, bool]]:
        """Label, kind and length of each function of a split: exact shares in random order."""
        rng = self.random(split, "plan")
        plan: list[tuple[int, str, bool]] = []
        for label, count in enumerate(counts):
            kinds = _apportion(self._weights(), count, rng)
            longs = [index < round(count * self.config.long_share) for index in range(count)]
            rng.shuffle(longs)
            plan += [(label, kind, is_long) for kind, is_long in zip(kinds, longs, strict=True)]
        rng.shuffle(plan)
        return plan

    def _unseen(self, row: int, kind: str, is_long: bool, seen: set[str]) -> Twins:
        """Twins of which neither form, white space aside, has been drawn before."""
        config = self.config
        shape = shape_of(is_long=is_long, spread=config.spread, omitted=config.omitted, decoys=config.decoys)
        twins = first_unseen(lambda attempt: make_twins(kind, self.random(row, attempt), shape), _keys, seen)
        if twins is None:
            raise fail("size", f"no {config.size} different functions of these kinds could be drawn.")
        return twins

    def _weights(self) -> dict[str, float]:
        given = self.config.weaknesses
        return dict.fromkeys(KINDS, 1.0) if given is None else {k: given[k] for k in KINDS if given.get(k)}

    def _with_noise(self, train: Records) -> tuple[Records, int]:
        count = round(len(train) * self.config.label_noise)
        if not count:
            return train, 0
        labels = train.labels.copy()
        chosen = self.random("noise").sample(range(len(train)), count)
        labels[chosen] = 1 - labels[chosen]
        position = train.table.column_names.index("label")
        return Records(train.table.set_column(position, "label", [labels]), train.classes), count


def _keys(twins: Twins) -> set[str]:
    return {"".join(form.text.split()) for form in (twins.vulnerable, twins.repaired)}


def _apportion(weights: dict[str, float], count: int, rng: Random) -> list[str]:
    """``count`` kinds in proportion to their weights, remainders drawn, in random order."""
    total = sum(weights.values())
    exact = {kind: count * weight / total for kind, weight in weights.items()}
    kinds = [kind for kind, share in exact.items() for _ in range(int(share))]
    chance = {kind: (share % 1) * rng.random() for kind, share in exact.items()}
    kinds += sorted(chance, key=chance.__getitem__, reverse=True)[: count - len(kinds)]
    rng.shuffle(kinds)
    return kinds
