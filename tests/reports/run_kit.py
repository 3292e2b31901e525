"""Run folders as a training leaves them, and histories that each rule of the diagnosis is about."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterpoise.jsonio import dumps, write_json
from counterpoise.reports.runs import RunRecord, read_run

NAN = float("nan")
CLASSES = ("safe", "vulnerable")
CONFIG: dict[str, Any] = {
    "seed": 42,
    "train": {"epochs": 8},
    "objective": {"metric": "f1", "weights": {}},
    "early_stopping": {"enabled": True, "patience": 5, "min_delta": 0.001},
    "data": {"_target_": "counterpoise.data.sources.demo_code.DemoCode", "leakage": "warn"},
    "loss": {"_target_": "counterpoise.losses.CrossEntropy", "label_smoothing": 0.05},
    "balance": {"class_weights": "inverse_frequency", "beta": 0.9999, "sampler": False, "allow_stacked": False},
    "optimizer": {"lr": 1e-3, "weight_decay": 0.01},
    "lr_range_test": {"recipe": 1e-3},
    "threshold": 0.5,
    "threshold_metric": None,
    "hardware": {"precision": None},
    "model": {"_target_": "counterpoise.models.textcnn.TextCNN", "dropout": 0.3},
}
PLAN = {"lr": 1e-3, "precision": "bf16"}


def figures(
    score: float = 0.7, *, auc: float = 0.85, shares: Sequence[float] = (0.5, 0.5), rows: int = 800, **more: object
) -> dict[str, Any]:
    """Metrics of a split with two classes of equal size, of which ``shares`` are predicted."""
    per_class = {
        name: {
            "precision": 0.7,
            "recall": 0.7,
            "support": rows // 2,
            "predicted_share": share,
            "actual_share": 0.5,
        }
        for name, share in zip(CLASSES, shares, strict=True)
    }
    half = rows // 2
    right = 0 if math.isnan(score) else min(half, max(0, round(score * half)))
    matrix = [[right, half - right], [half - right, right]]
    areas = {"roc_auc": auc, "per_class": per_class, "confusion_matrix": matrix}
    return {"accuracy": score, "f1": score, "macro_f1": score, **areas, **more}


def epoch(number: int, train: float, valid: float, score: float, **more: Any) -> dict[str, Any]:
    """One entry of the history; ``number`` is zero-based."""
    own = {name: more.pop(name) for name in ("lr", "grad_norm", "stepped") if name in more}
    return {
        "epoch": number + 1,
        "update": 100 * (number + 1),
        "train_loss": train,
        "score": score,
        "grad_norm": 2.0,
        "lr": 1e-3 / (number + 1),
        "stepped": 100,
        **own,
        "valid": {"loss": valid, **figures(score, **more)},
    }


def course(train: Sequence[float], valid: Sequence[float], score: Sequence[float], **more: Any) -> list[dict[str, Any]]:
    """A history from its curves."""
    points = zip(train, valid, score, strict=True)
    return [epoch(number, *point, **more) for number, point in enumerate(points)]


def update(number: int, loss: float, **more: object) -> dict[str, Any]:
    """One line of ``metrics.jsonl``."""
    return {"update": number, "epoch": 1, "loss": loss, "lr": 1e-3, "grad_norm": 2.0, "skipped": 0, **more}


def result(score: float = 0.8, *, tfidf: float = 0.5, majority: float = 0.0, **more: Any) -> dict[str, Any]:
    """``result.json`` of a run that did as well on test as on validation."""
    baselines = {
        name: {split: figures(value, auc=0.5) for split in ("valid", "test")}
        for name, value in (("majority", majority), ("tfidf_logistic", tfidf))
    }
    return {
        "status": "finished",
        "data": "demo_code",
        "model": "TextCNN",
        "seed": 42,
        "objective": {"metric": "f1", "score": score, "maximise": True},
        "best_epoch": 1,
        "ended_by": {"judge": "", "reason": ""},
        "updates": 800,
        "skipped_updates": 0,
        "valid": figures(score),
        "test": figures(score),
        "baselines": baselines,
        **more,
    }


def changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with values at dotted keys."""
    answer = copy.deepcopy(dict(base))
    for key, value in changes.items():
        node = answer
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return answer


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a training left, and what is to be said of it."""

    epochs: Sequence[Mapping[str, Any]]
    kinds: tuple[str, ...] = ()
    """All findings, gravest first."""
    override: str = ""
    """The first finding's."""
    asked: tuple[str, ...] = ()
    """Hydra overrides with which such a run was started."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The same as changes of ``CONFIG``."""
    plan: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    updates: Sequence[Mapping[str, Any]] = ()
    result: Mapping[str, Any] | None = field(default_factory=result)
    failure: Mapping[str, Any] | None = None
    collapse: Mapping[str, Any] | None = None

    def write(self, folder: Path, config: Mapping[str, Any] | None = None) -> RunRecord:
        """Leave it in a folder, by default with ``CONFIG``, and read it again."""
        whole = changed(CONFIG, self.config) if config is None else config
        metadata = {"config": whole, "plan": {**PLAN, **self.plan}, "classes": CLASSES, **self.metadata}
        write_json(folder / "training_metadata.json", metadata)
        write_json(folder / "training_history.json", {"epochs": self.epochs})
        lines = "".join(dumps(line, indent=None) + "\n" for line in self.updates)
        (folder / "metrics.jsonl").write_text(lines)
        for name, content in (("result", self.result), ("failure", self.failure), ("collapse_report", self.collapse)):
            (folder / f"{name}.json").unlink(missing_ok=True)
            if content is not None:
                write_json(folder / f"{name}.json", content)
        return read_run(folder)
