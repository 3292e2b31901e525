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
from counterpoise.thresholds import DEFAULT_THRESHOLD, TUNABLE

USUAL_RATES = {"scratch": (5e-5, 1e-2), "pretrained": (5e-6, 2e-4), "joined": (5e-6, 2e-3)}
"""Learning rates outside are suspicious: half the least, and three to four times the most, that recipes use."""
FAR = 3.0
"""Times the model's own learning rate, or a part of it: half an order of magnitude."""
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
        rate = self.rate
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

    @property
    def recipe_lr(self) -> float:
        """The model's own learning rate; without one, the (geometric) middle of the usual ones."""
        recipe = number(self.config, "lr_range_test", "recipe")
        return recipe if finite(recipe) and recipe > 0 else math.sqrt(math.prod(self.usual_rates))

    @property
    def rate(self) -> float | None:
        """The learning rate of the config, before it is scaled with the batch; ``None`` where a range test finds it."""
        return None if self._searched else number(self.config, "optimizer", "lr")

    def off_recipe(self) -> str:
        """``low`` or ``high`` for a learning rate far from the model's own; else empty."""
        if not finite(self.rate) or self.rate <= 0:
            return ""
        ratio = self.rate / self.recipe_lr
        return "low" if ratio < 1 / FAR else "high" if ratio > FAR else ""

    def recipe(self) -> str:
        """The model's own learning rate."""
        return "" if self._searched else self._set("optimizer.lr", float(f"{self.recipe_lr:.3g}"))

    @property
    def _searched(self) -> bool:
        """Whether a range test finds the learning rate."""
        return find(self.config, "lr_finder")[1] is True

    def lower_lr(self) -> str:
        """The model's own learning rate where it is far above that; else a tenth of it."""
        return self.recipe() if self.off_recipe() == "high" else self.lr(TENTH)

    def patience(self, wanted: int) -> str:
        """Wait for so many epochs before stopping early."""
        current = number(self.config, "early_stopping", "patience")
        return self._set("early_stopping.patience", wanted) if finite(current) and current < wanted else ""

    def tuned_threshold(self) -> str:
        """Let validation decide from which probability class 1 of two is predicted."""
        metric = word(self.config, "threshold_metric") or word(self.config, "objective", "metric")
        there, current = find(self.config, "threshold")
        known = len(self.record.classes) == 2 and metric in TUNABLE
        return "threshold=tune" if there and current == DEFAULT_THRESHOLD and known else ""

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

    def without_leaks(self) -> str:
        """Drop the records that splits share, where some do."""
        shared = section(self.record.metadata, "data_notes", "leakage", "shared")
        texts = [number(node, "texts") for node in shared.values()]
        leaks = any(finite(count) and count > 0 for count in texts)
        return "data.leakage=drop" if leaks and word(self.config, "data", "leakage") == "warn" else ""

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
