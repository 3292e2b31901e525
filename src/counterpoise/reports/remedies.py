"""Overrides that are worth a try, computed from a run's own config.

Every override sets a key that the run's config has, so that it can be added to the run's own command whatever was on
it: values win over the option that a group chooses. Where the config has no such key (a model without dropout), or
there is nothing left to change, the answer is empty.
"""

from __future__ import annotations

import math

from counterpoise.config.values import show
from counterpoise.reports.reading import find, finite, number, section, word
from counterpoise.reports.runs import RunRecord

USUAL_RATES = {"scratch": (5e-5, 1e-2), "pretrained": (5e-6, 2e-4), "joined": (5e-6, 2e-3)}
"""Learning rates outside are suspicious: half the least, and three to four times the most, that recipes use."""
TENTH = 0.1
"""Of a learning rate with which training explodes: it is wrong by an order of magnitude."""
MOST_DROPOUT = 0.5
MORE_DROPOUT = 0.2
"""Added to what there is."""
SMOOTHING = 0.1
MOST_WEIGHT_DECAY = 0.1


class Remedies:
    """What a run could try next; every method answers with ``key=value``, or with nothing."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.config = record.config

    def lr(self, factor: float) -> str:
        """The learning rate times ``factor``."""
        rate = number(self.config, "optimizer", "lr")
        if not finite(rate) or not (rate * factor > 0 and math.isfinite(rate * factor)):
            return ""
        return f"optimizer.lr={rate * factor:.3g}"

    @property
    def pretrained(self) -> bool:
        """Whether the model starts from somebody else's weights."""
        return bool(word(self.config, "model", "pretrained"))

    @property
    def usual_rates(self) -> tuple[float, float]:
        """The learning rates, after scaling, that such a model is trained with."""
        return USUAL_RATES["pretrained" if self.pretrained else "joined" if self._joins_runs else "scratch"]

    @property
    def _joins_runs(self) -> bool:
        """Whether the model goes on training what an earlier run has trained."""
        mode, branch = (word(self.config, "model", name) for name in ("mode", "transformer"))
        return bool(branch) and branch != "fresh" and mode != "frozen"

    def frozen_branches(self) -> str:
        """Train the fusion layer alone, where the branches come from runs."""
        branches = [word(self.config, "model", name) for name in ("transformer", "gnn")]
        return self._set("model.mode", "frozen") if all(name not in ("", "fresh") for name in branches) else ""

    def usual_lr(self) -> str:
        """The learning rate that becomes, once scaled, the (geometric) middle of the usual ones."""
        rate, (low, high) = number(self.record.plan, "lr"), self.usual_rates
        return self.lr(math.sqrt(low * high) / rate) if finite(rate) and rate > 0 else ""

    def lower_lr(self) -> str:
        """A tenth of the learning rate; a usual one where it is above all of them."""
        rate = number(self.record.plan, "lr")
        return self.usual_lr() if finite(rate) and rate > self.usual_rates[1] else self.lr(TENTH)

    def epochs(self, wanted: int) -> str:
        """Train for so many epochs, at least one."""
        return self._set("train.epochs", max(1, wanted))

    def regularise(self) -> str:
        """More dropout, else label smoothing, else more weight decay, whichever there is room for."""
        return self._dropout() or self._smoothing() or self._weight_decay()

    def balance(self) -> str:
        """Class weights, where nothing evens out the classes yet."""
        return self._set("balance.class_weights", "inverse_frequency")

    def objective(self) -> str:
        """Choose checkpoints by a figure to which every class counts alike."""
        metric = word(self.config, "objective", "metric")
        weighted = bool(section(self.config, "objective", "weights"))
        return "" if weighted or metric == "macro_f1" else self._set("objective.metric", "macro_f1")

    def switch_off(self, correction: str) -> str:
        """Take one correction of imbalance away, by its name in :func:`counterpoise.balance.stacked`."""
        if correction == "class weights":
            beta = number(self.config, "balance", "beta")
            only_rule = word(self.config, "balance", "class_weights") != "effective_number"  # others refuse a beta
            return self._set("balance.class_weights", "none") if only_rule or beta == 0.9999 else ""
        key, value = {
            "sampler": ("balance.sampler", False),
            "focal alpha": ("loss.alpha", None),
            "pos_weight": ("loss.pos_weight", 1.0),
        }.get(correction, ("", None))
        return self._set(key, value) if key else ""

    def full_precision(self) -> str:
        """fp32: no gradient scaler, no overflow."""
        return "" if word(self.record.plan, "precision") == "fp32" else self._set("hardware.precision", "fp32")

    def other_split(self) -> str:
        """Drop what leaks, else draw the splits anew, else another seed: whether the difference stays."""
        leaks = section(self.record.metadata, "data_notes", "leakage", "shared")
        if leaks and word(self.config, "data", "leakage") == "warn":
            return "data.leakage=drop"
        drawn = number(self.record.metadata, "data_notes", "split", "seed")
        if finite(drawn) and self._has("data.split_seed"):
            return f"data.split_seed={int(drawn) + 1}"
        seed = self.record.seed
        return "" if seed is None else f"seed={(seed + 1) % 2**32}"

    def known(self, override: str) -> str:
        """What another part of the package proposed, if it has the shape of an override and the config such a key."""
        key, _, value = override.partition("=")
        return override if value and self._has(key) else ""

    def _dropout(self) -> str:
        rate = number(self.config, "model", "dropout")
        if not finite(rate) or not 0 <= rate < MOST_DROPOUT:
            return ""
        return f"model.dropout={min(MOST_DROPOUT, rate + MORE_DROPOUT):.3g}"

    def _smoothing(self) -> str:
        share = number(self.config, "loss", "label_smoothing")
        return f"loss.label_smoothing={SMOOTHING}" if finite(share) and share < SMOOTHING else ""

    def _weight_decay(self) -> str:
        decay = number(self.config, "optimizer", "weight_decay")
        if not finite(decay) or not 0 <= decay < MOST_WEIGHT_DECAY:
            return ""
        return f"optimizer.weight_decay={min(MOST_WEIGHT_DECAY, max(10 * decay, 0.01)):.3g}"

    def _has(self, key: str) -> bool:
        return find(self.config, *key.split("."))[0]

    def _set(self, key: str, value: object) -> str:
        """``key=value`` if the config has this key with another value."""
        there, current = find(self.config, *key.split("."))
        shown = show(value) if isinstance(value, bool | None) else value
        return f"{key}={shown}" if there and current != value else ""
