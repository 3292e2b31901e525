"""The demo set of long documents: generated stories rated general, teen or mature.

A few passages of one to four sentences decide, scattered anywhere in neutral text. Decoys stand in stories of every
class: the same words said of things, denied, on a stage, in a figure of speech. So counting the words of a document
says little, and reading its sentences says all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, POSITIVE, Range
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.base import SourceConfig
from counterpoise.data.sources.demo_documents.tale import LENGTHS, Shape, Tale, make_tale
from counterpoise.data.sources.drawn import DrawnConfig, DrawnSource, first_unseen
from counterpoise.data.sources.prose.counts import apportion
from counterpoise.errors import Problem, fail

CLASSES = ("general", "teen", "mature")


@dataclass(frozen=True, kw_only=True)
class DemoDocumentsConfig(DrawnConfig):
    """How many stories, of what length, and how hard."""

    size: Annotated[int, Range(ge=9, le=1_000_000)] = 1200
    """Stories in all splits together."""
    class_shares: Annotated[tuple[float, ...], POSITIVE] = (0.6, 0.27, 0.11)
    """Relative shares of general, teen and mature, exact to rounding in every split; they need not add up to 1."""
    median_words: Annotated[int, Range(ge=LENGTHS[0], le=LENGTHS[1])] = 2000
    """Median length of a story, in words."""
    length_spread: Annotated[float, Range(ge=0, le=2)] = 0.9
    """Standard deviation of the logarithm of the length; 0 makes all equally long, more lengthens the tail."""
    passages: Annotated[tuple[int, ...], AT_LEAST_ONE] = (1, 4)
    """Fewest and most deciding passages of a story's class; a mature one may hold up to two of teen beside them."""
    decoys: Annotated[float, NON_NEGATIVE] = 12.0
    """Mean number of decoys in 1,000 words, in stories of every class; more is harder for counting words."""

    def problems(self) -> Iterator[Problem]:
        """What cannot be generated."""
        if len(self.passages) != 2 or self.passages[0] > self.passages[-1]:
            yield Problem("passages", f"needs the fewest and the most, got {list(self.passages)}.", "Example: [1, 4].")
        if len(self.class_shares) != len(CLASSES):
            yield Problem(
                "class_shares",
                f"needs {len(CLASSES)} numbers, for {', '.join(CLASSES)}; got {len(self.class_shares)}.",
                "Example: [0.6, 0.27, 0.11].",
            )
            return
        lacking = list(self.share_problems())
        if lacking:
            yield from lacking
            return
        for split, counts in self.class_counts().items():
            if min(counts) < 1:
                held = ", ".join(f"{count} {name}" for name, count in zip(CLASSES, counts, strict=True))
                remedy = "Raise size, the split's share, or the smallest of class_shares."
                yield Problem("size", f"the {split} split would hold {held}; it needs one of each.", remedy)

    def class_counts(self) -> dict[str, list[int]]:
        """Stories of each class, for each split that exists."""
        sizes = apportion(list(self.shares.values()), self.size)
        return {split: apportion(self.class_shares, size) for split, size in zip(self.shares, sizes, strict=True)}


class DemoDocuments(DrawnSource):
    """Stories with a few deciding passages.

    ``evidence_spans`` holds the passages of the story's own class; it is empty for general ones. ``Dataset.notes``
    counts how many training labels were exchanged.
    """

    Config: ClassVar[type[SourceConfig]] = DemoDocumentsConfig
    config: DemoDocumentsConfig

    def draw(self) -> Dataset:
        """Generate all splits."""
        seen: set[str] = set()
        splits: dict[str, Records] = {}
        first_row = 0
        for split, counts in self.config.class_counts().items():
            labels = [label for label, count in enumerate(counts) for _ in range(count)]
            self.random(split, "plan").shuffle(labels)
            splits[split] = self._split(labels, first_row, self._told(labels, split), seen)
            first_row += len(labels)
        notes: dict[str, Any] = {"exchanged_train_labels": round(len(splits["train"]) * self.config.label_noise)}
        return Dataset("demo_documents", splits["train"], splits["valid"], splits.get("test"), notes)

    def _split(self, labels: list[int], first_row: int, told: list[int], seen: set[str]) -> Records:
        columns: dict[str, list[Any]] = {"row": [], "text": [], "label": told, "evidence_spans": []}
        for row, label in enumerate(labels, first_row):
            text, evidence = self._unseen(row, CLASSES[label], seen)
            columns["row"].append(row)
            columns["text"].append(text)
            columns["evidence_spans"].append(evidence)
        return Records.from_columns(columns, CLASSES)

    def _unseen(self, row: int, rating: str, seen: set[str]) -> tuple[str, list[int]]:
        """A story that has not been told before, and its evidence."""
        config = self.config
        fewest, most = config.passages
        shape = Shape(config.median_words, config.length_spread, (fewest, most), config.decoys)

        def draw(attempt: int) -> Tale:
            return make_tale(rating, f"{config.data_seed}/{row}/{attempt}", shape)

        tale = first_unseen(draw, lambda tale: {tale.text}, seen)
        if tale is None:
            raise fail("size", f"no {config.size} different stories could be told.", "Raise median_words.")
        return tale.text, tale.evidence(rating)

    def _told(self, labels: list[int], split: str) -> list[int]:
        """The labels as they are told: in the training split with noise."""
        told = list(labels)
        if split == "train":
            rng = self.random("noise")
            for index in rng.sample(range(len(labels)), round(len(labels) * self.config.label_noise)):
                told[index] = rng.choice([label for label in range(len(CLASSES)) if label != labels[index]])
        return told
