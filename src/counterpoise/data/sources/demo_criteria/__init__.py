"""The demo set of pairs: generated posts, each asked about ten criteria.

A post mentions a criterion that applies in a sentence or two, in the writer's own words. Decoys speak of the same
things in the same words, but of somebody else, of long ago, or to deny them. Criteria differ in how often they apply,
so that the criterion alone says something already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, Range
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.base import SourceConfig
from counterpoise.data.sources.demo_criteria.criteria import CRITERIA
from counterpoise.data.sources.demo_criteria.post import LENGTHS, Post, Shape, make_post
from counterpoise.data.sources.drawn import DrawnConfig, DrawnSource, first_unseen
from counterpoise.data.sources.prose.counts import apportion
from counterpoise.errors import Problem, fail

CLASSES = ("no", "yes")
_WEIGHTS = tuple(criterion.weight for criterion in CRITERIA.values())


@dataclass(frozen=True, kw_only=True)
class DemoCriteriaConfig(DrawnConfig):
    """How many posts, how often criteria apply, and how hard."""

    posts: Annotated[int, Range(ge=4, le=1_000_000)] = 1484
    """Posts in all splits together; each is paired with all ten criteria."""
    positive_share: Annotated[float, Range(gt=0, lt=1)] = 0.09306
    """Share of the pairs whose criterion applies, exact to rounding; rates of the criteria stay in proportion."""
    median_words: Annotated[int, Range(ge=LENGTHS[0], le=LENGTHS[1])] = 230
    """Median length of a post in words, without mentions and decoys."""
    length_spread: Annotated[float, Range(ge=0, le=2)] = 0.9
    """Standard deviation of the logarithm of the length; 0 makes all equally long, more lengthens the tail."""
    mentions: Annotated[tuple[int, ...], AT_LEAST_ONE] = (1, 2)
    """Fewest and most mentions of a criterion that applies."""
    decoys: Annotated[float, NON_NEGATIVE] = 1.5
    """Mean number of decoys in a post; more is harder for telling topics apart."""

    def problems(self) -> Iterator[Problem]:
        """What cannot be generated."""
        if len(self.mentions) != 2 or self.mentions[0] > self.mentions[-1]:
            yield Problem("mentions", f"needs the fewest and the most, got {list(self.mentions)}.", "Example: [1, 2].")
        lacking = list(self.share_problems())
        if lacking:
            yield from lacking
            return
        for split, (posts, positives) in self.counts().items():
            if not sum(positives):
                message = f"the {split} split of {posts} posts would hold no pair whose criterion applies."
                yield Problem("posts", message, "Raise posts, positive_share, or the split's share.")
            if max(positives, default=0) > posts:
                message = f"is too large: in the {split} split the most frequent criterion would apply to "
                message += f"{max(positives)} of {posts} posts."
                highest = sum(_WEIGHTS) / max(_WEIGHTS) / len(_WEIGHTS)
                yield Problem("positive_share", message, f"At most about {highest:.2f} is possible.")

    def counts(self) -> dict[str, tuple[int, list[int]]]:
        """For each split that exists: posts, and to how many of them each criterion applies."""
        sizes = apportion(list(self.shares.values()), self.posts)
        positives = apportion(sizes, round(self.posts * len(CRITERIA) * self.positive_share))
        return {
            split: (size, apportion(_WEIGHTS, count))
            for split, size, count in zip(self.shares, sizes, positives, strict=True)
        }


class DemoCriteria(DrawnSource):
    """Pairs of a post and a criterion.

    ``group`` is the post's, ``evidence_spans`` holds what mentions the criterion where it applies. ``Dataset.notes``
    counts how many training labels were flipped.
    """

    Config: ClassVar[type[SourceConfig]] = DemoCriteriaConfig
    config: DemoCriteriaConfig

    def draw(self) -> Dataset:
        """Generate all splits."""
        seen: set[str] = set()
        splits: dict[str, Records] = {}
        first_post = flipped = 0
        for split, (posts, positives) in self.config.counts().items():
            true = self._true(split, posts, positives)
            columns = self._columns(first_post, true, seen)
            if split == "train":
                flipped = self._flip(columns["label"])
            splits[split] = Records.from_columns(columns, CLASSES)
            first_post += posts
        notes: dict[str, Any] = {"flipped_train_labels": flipped}
        return Dataset("demo_criteria", splits["train"], splits["valid"], splits.get("test"), notes)

    def _true(self, split: str, posts: int, positives: list[int]) -> list[frozenset[str]]:
        """The criteria that apply to each post of a split: exact counts at random places."""
        rng = self.random(split, "plan")
        chosen = {name: set(rng.sample(range(posts), n)) for name, n in zip(CRITERIA, positives, strict=True)}
        return [frozenset(name for name in CRITERIA if post in chosen[name]) for post in range(posts)]

    def _columns(self, first_post: int, true: list[frozenset[str]], seen: set[str]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            name: [] for name in ("row", "text", "label", "group", "criterion", "evidence_spans")
        }
        for number, names in enumerate(true, first_post):
            post = self._unseen(number, names, seen)
            for place, (name, criterion) in enumerate(CRITERIA.items()):
                pair = (
                    number * len(CRITERIA) + place,
                    post.text,
                    int(name in names),
                    f"p{number}",
                    criterion.sentence,
                    post.mentions.get(name, []),
                )
                for column, value in zip(columns.values(), pair, strict=True):
                    column.append(value)
        return columns

    def _unseen(self, number: int, true: frozenset[str], seen: set[str]) -> Post:
        """A post that has not been written before."""
        config = self.config
        fewest, most = config.mentions
        shape = Shape(config.median_words, config.length_spread, (fewest, most), config.decoys)

        def draw(attempt: int) -> Post:
            return make_post(true, f"{config.data_seed}/{number}/{attempt}", shape)

        post = first_unseen(draw, lambda post: {post.text}, seen)
        if post is None:
            raise fail("posts", f"no {config.posts} different posts could be written.", "Raise median_words.")
        return post

    def _flip(self, labels: list[int]) -> int:
        """Flip the asked share of labels in place; returns how many."""
        count = round(len(labels) * self.config.label_noise)
        for index in self.random("noise").sample(range(len(labels)), count):
            labels[index] = 1 - labels[index]
        return count
