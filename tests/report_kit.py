"""Run folders as trainings leave them, made up without one: models, seeds, folds and data sets for reports."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from counterpoise.data.folds import rows_fingerprint
from counterpoise.jsonio import dumps, write_atomically, write_json
from counterpoise.metrics import METRICS, classification_metrics

TWO = ("safe", "vulnerable")
THREE = ("general", "teen", "mature")
TARGETS = {
    "TextCNN": "counterpoise.models.textcnn.TextCNN",
    "BiLSTM": "counterpoise.models.bilstm.BiLSTM",
    "Transformer": "counterpoise.models.transformer.Transformer",
    "GNN": "counterpoise.models.gnn.gnn.GNN",
    "Fusion": "counterpoise.models.fusion.Fusion",
}
VERSIONS = {"counterpoise": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"}
SHARES = {2: (0.7, 0.3), 3: (0.6, 0.28, 0.12)}
"""Of the classes, by how many there are."""


def config(model: str, seed: int, fold: int | None = None, metric: str = "f1", **changes: Any) -> dict[str, Any]:
    """A resolved config, with values at dotted keys changed."""
    answer: dict[str, Any] = {
        "seed": seed,
        "fold": fold,
        "folds": {"count": 5, "by": "auto", "held_out": "test", "valid_share": 0.1, "seed": 0},
        "train": {"epochs": 10, "batch_size": "auto", "accumulation": "auto", "clip_norm": 1.0, "log_every": 10},
        "objective": {"metric": metric, "weights": {}},
        "early_stopping": {"enabled": True, "patience": 5, "min_delta": 0.001},
        "data": {"_target_": "counterpoise.data.sources.demo_code.DemoCode", "size": 3000, "leakage": "warn"},
        "encoding": {"_target_": "counterpoise.data.encode.tokens.Tokens", "vocab_size": 4096, "max_length": 512},
        "loss": {"_target_": "counterpoise.losses.CrossEntropy", "label_smoothing": 0.05},
        "balance": {"_target_": "counterpoise.balance.Balance", "class_weights": "inverse_frequency", "sampler": False},
        "optimizer": {
            "_target_": "counterpoise.optim.adamw.AdamW",
            "lr": 0.001,
            "weight_decay": 0.01,
            "betas": [0.9, 0.999],
            "eps": 1e-08,
            "scaling": "sqrt",
            "base_batch": 16,
        },
        "scheduler": {"_target_": "counterpoise.optim.schedules.LinearWarmup", "warmup_ratio": 0.1},
        "hardware": {"profile": "auto", "precision": None, "workers": None},
        "tracker": {"_target_": "counterpoise.tracking.base.NoTracker"},
        "paths": {"outputs": "outputs", "multirun": "multirun", "cache": ".cache/counterpoise"},
        "model": {"_target_": TARGETS.get(model, f"my_package.{model}"), "dropout": 0.3},
    }
    for key, value in changes.items():
        node = answer
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return answer


def plan(epochs: int = 10) -> dict[str, Any]:
    """What is derived from it."""
    return {
        "profile": "cpu",
        "device": "cpu",
        "precision": "bf16",
        "batch_size": 32,
        "accumulation": 1,
        "effective_batch": 32,
        "evaluation_batch": 64,
        "batch_tokens": None,
        "lr": 0.0014142135623730952,
        "lr_factor": 1.4142135623730951,
        "warmup_ratio": 0.14142135623730953,
        "samples": 2100,
        "epochs": epochs,
        "updates_per_epoch": 66,
        "total_updates": 66 * epochs,
    }


def generator(*parts: object) -> np.random.Generator:
    """Random numbers that depend on these parts alone."""
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


def labels_of(data: str, split: str, rows: int, classes: int) -> NDArray[np.int64]:
    """The labels of a data set's split ``[N]``: each class has its share, whatever the model."""
    counts = np.floor(np.array(SHARES[classes]) * rows).astype(int)
    counts[0] += rows - counts.sum()
    return generator(data, split, "labels").permutation(np.repeat(np.arange(classes), counts)).astype(np.int64)


def probabilities_of(
    labels: NDArray[np.int64], classes: int, skill: float, common: tuple[object, ...], own: tuple[object, ...]
) -> NDArray[np.float64]:
    """Answers ``[N, C]``, the more often right the larger ``skill``.

    Half of the noise comes from ``common``, so that models are wrong on the same rows more often than by chance, and
    half from ``own``.
    """
    shape = (len(labels), classes)
    noise = generator(*common).standard_normal(shape) + generator(*own).standard_normal(shape)
    logits = skill * np.eye(classes)[labels] + noise / np.sqrt(2)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def rows_of(rows: int, folds: int, fold: int | None) -> NDArray[np.int64]:
    """Row numbers of the held-out split: all, or every one that the fold has."""
    everything = np.arange(1000, 1000 + rows, dtype=np.int64)
    return everything if fold is None else everything[fold::folds]


def write_run(
    folder: Path,
    *,
    model: str = "TextCNN",
    seed: int = 42,
    data: str = "demo_code",
    classes: Sequence[str] = TWO,
    rows: int = 300,
    skill: float = 1.5,
    status: str = "finished",
    message: str = "",
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    metric: str = "f1",
    epochs: int = 4,
    fold: int | None = None,
    folds: int = 5,
    held_out: str = "test",
    has_test: bool = True,
    threshold: float = 0.5,
    temperature: float = 1.0,
    decided: bool = True,
    groups: int = 0,
    baselines: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """The folder of one run.

    Args:
        folder: its path; made if it is not there.
        model: the model's class.
        seed: of the run; with ``model`` and ``data`` it decides what is predicted.
        data: name of the data set: it decides rows and labels.
        classes: two or three.
        rows: held-out rows, of all folds together where there are folds; validation has half as many.
        skill: 0 for a model that knows nothing; 3 is nearly always right.
        status: ``finished``, ``collapsed``, ``failed``, ``aborted``, ``pruned`` or ``unfinished``.
        message: why it failed.
        overrides: as typed; model, seed and fold are added.
        changes: of the config, by dotted key.
        metric: the objective's.
        epochs: of the history.
        fold: the one that is held out.
        folds: how many there are.
        held_out: ``test`` or ``valid``: what the fold is for.
        has_test: whether there is a test split.
        threshold: from which class 1 of two is predicted.
        temperature: by which logits were divided.
        decided: whether files say so; older ones have neither ``predicted`` nor ``decision``.
        groups: how many groups the rows of a split fall into; 0 for none.
        baselines: whether their probabilities are kept.
        facts: further entries of the metadata.

    Returns:
        ``folder``.
    """
    typed = [f"model={model.lower()}", *overrides, *([] if fold is None else [f"fold={fold}"]), f"seed={seed}"]
    notes: dict[str, Any] = {}
    if fold is not None:
        notes["split"] = _split_facts(data, rows, fold, folds, held_out)
    whole = config(model, seed, fold, metric, **(changes or {}))
    metadata = {
        "format": 1,
        "config": whole,
        "plan": plan(epochs),
        "data_fingerprint": f"{zlib.crc32(repr((data, rows, fold)).encode()):08x}",
        "overrides": typed,
        "hardware": "this machine's processor, profile cpu",
        "data_notes": notes,
        "classes": list(classes),
        "machine": {"processor": "AVX512", "threads": 1, **VERSIONS},
        **(facts or {}),
    }
    write_json(folder / "training_metadata.json", metadata)
    if status in ("failed", "unfinished") and not message:
        message = "The data are gone." if status == "failed" else ""
    _write_course(folder, model, seed, epochs, classes)
    if status == "unfinished":
        return folder
    if status in ("failed", "aborted", "pruned"):
        content = {"status": status, "message": message or f"It was {status}.", "traceback": ""}
        write_json(folder / "failure.json", content)
        return folder
    parts: dict[str, Any] = {}
    bars: dict[str, dict[str, Any]] = {}
    names = [held_out] if held_out == "valid" and fold is not None else ["valid", *(["test"] if has_test else [])]
    for split in names:
        of_fold = fold if split == held_out else None
        numbers = rows_of(rows if split == held_out else rows // 2, folds, of_fold)
        whole_split = labels_of(data, split, rows if split == held_out else rows // 2, len(classes))
        labels = whole_split if of_fold is None else whole_split[of_fold::folds]
        common, own = (data, split, fold, "common"), (data, split, fold, model, seed, *overrides)
        table = probabilities_of(labels, len(classes), skill, common, own)
        predicted = (table[:, 1] >= threshold).astype(np.int64) if len(classes) == 2 else table.argmax(axis=1)
        members = [f"g{row % groups}" for row in numbers.tolist()] if groups else None
        write_predictions(folder, split, numbers, labels, table, predicted if decided else None, members)
        cut = threshold if len(classes) == 2 else None
        parts[split] = {"loss": 0.5, **classification_metrics(labels, table, classes, cut)}
        answers = {
            "majority": np.tile(np.array(SHARES[len(classes)]), (len(labels), 1)),
            "tfidf_logistic": probabilities_of(labels, len(classes), 0.8, common, (data, split, fold, "tfidf")),
        }
        for name, answer in answers.items():
            bars.setdefault(name, {})[split] = classification_metrics(labels, answer, classes)
        if baselines:
            write_baselines(folder, split, numbers, labels, answers)
    decision = {"threshold": threshold, "tuned": threshold != 0.5, "metric": metric, "temperature": temperature}
    error = {split: {"before": 0.08, "after": 0.03} for split in parts}
    score = parts["valid"][metric] if metric in METRICS else 0.5
    write_json(
        folder / "result.json",
        {
            "status": status,
            "data": data,
            "data_fingerprint": metadata["data_fingerprint"],
            "objective": {
                "metric": metric,
                "score": score,
                "maximise": METRICS.get(metric, "maximise") == "maximise",
            },
            "best_epoch": epochs - 1 if epochs > 1 else 1,
            "best_is_doubtful": False,
            "epochs": epochs,
            "ended_by": {"judge": "collapse", "reason": "class vulnerable is never predicted"}
            if status == "collapsed"
            else {"judge": "", "reason": ""},
            "alarms": 0,
            "rescues": [],
            "baselines": bars,
            "model": model,
            "seed": seed,
            "updates": 66 * epochs,
            "skipped_updates": 0,
            "trainable_parameters": 321_794,
            **parts,
            **({} if "test" in parts else {"test": None}),
            "notes": notes,
            "seconds": 12.5,
            "diagnosis": [],
            **({"decision": decision, "calibration": error} if decided else {}),
        },
    )
    return folder


def _split_facts(data: str, rows: int, fold: int, folds: int, held_out: str) -> dict[str, Any]:
    return {
        "kind": "folds",
        "by": "class",
        "folds": folds,
        "fold": fold,
        "held_out": held_out,
        "valid_share": 0.1 if held_out == "test" else None,
        "seed": 0,
        "records": rows,
        "data": f"{zlib.crc32(data.encode()):08x}",
        "rows": rows_fingerprint(rows_of(rows, folds, None)),
    }


def _write_course(folder: Path, model: str, seed: int, epochs: int, classes: Sequence[str]) -> None:
    """History, and a line of ``metrics.jsonl`` for every tenth update."""
    random = generator(model, seed, "course")
    labels = labels_of("course", "valid", 60, len(classes))
    history, lines = [], []
    for number in range(epochs):
        table = probabilities_of(labels, len(classes), 0.5 + 0.5 * number, ("course",), (model, seed, number))
        valid = {"loss": 0.7 / (number + 1), **classification_metrics(labels, table, classes)}
        loss = 0.7 / (number + 1) + 0.01 * float(random.random())
        history.append(
            {
                "epoch": number + 1,
                "update": 66 * (number + 1),
                "train_loss": loss,
                "grad_norm": 2.0 + float(random.random()),
                "lr": 1e-3 / (number + 1),
                "valid": valid,
                "score": valid["f1"],
                "is_best": True,
                "seconds": 1.25,
                "stepped": 66,
            }
        )
        for update in range(66 * number + 10, 66 * (number + 1), 10):
            noisy = loss + 0.1 * float(random.random())
            line = {"update": update, "epoch": number + 1, "loss": noisy, "lr": 1e-3, "grad_norm": 2.0, "skipped": 0}
            lines.append(dumps(line, indent=None) + "\n")
    write_json(folder / "training_history.json", {"epochs": history})
    (folder / "metrics.jsonl").write_text("".join(lines))


def write_predictions(
    folder: Path,
    split: str,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    predicted: NDArray[np.int64] | None = None,
    groups: Sequence[str] | None = None,
) -> None:
    """``predictions_<split>.parquet``; older ones have neither ``predicted`` nor ``group``."""
    columns = {"row": rows, "label": labels, "probabilities": _lists(probabilities)}
    columns |= {} if predicted is None else {"predicted": predicted}
    columns |= {} if groups is None else {"group": pa.array(groups)}
    table = pa.table(columns)
    write_atomically(folder / f"predictions_{split}.parquet", lambda file: pq.write_table(table, file))


def write_baselines(
    folder: Path,
    split: str,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    answers: Mapping[str, NDArray[np.float64]],
) -> None:
    """``baselines_<split>.parquet``."""
    columns = {"row": rows, "label": labels, **{name: _lists(answer) for name, answer in answers.items()}}
    write_atomically(folder / f"baselines_{split}.parquet", lambda file: pq.write_table(pa.table(columns), file))


def _lists(table: NDArray[np.float64]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(table.ravel()), table.shape[1])


def numbers(value: object) -> Iterator[float]:
    """Every float in nested plain containers."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, dict):
        yield from numbers(list(value.values()))
