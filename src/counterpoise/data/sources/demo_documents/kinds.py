"""What a kind of passage is made of."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Templates of one kind of passage, and of sentences that say the same words without meaning it."""

    cores: tuple[str, ...]
    """Sentences of which one alone decides."""
    after: tuple[str, ...]
    """Sentences that may follow one."""
    decoys: tuple[str, ...]
    """The same words in harmless roles: of things, denied, on a stage, in a figure of speech."""
    words: dict[str, tuple[str, ...]]
    """The words that both share, by the rule that draws them."""
    rules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Phrases that both share."""
