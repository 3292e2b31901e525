"""Reports made by hand, and run folders with a history and predictions for their pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterpoise.jsonio import write_json
from counterpoise.reports.report import (
    Calibration,
    Comparison,
    DataSet,
    Figure,
    Method,
    Repetition,
    Report,
    Row,
    RunEntry,
)

HOSTILE = "<script>alert(1)</script>\"'&amp; $x_1$ | `rm` \\input{x} % # \u202e _~^{}"
"""A name that every form has to escape."""
METRICS = ("f1", "accuracy", "roc_auc", "macro_f1")


def figure(values: Sequence[float], *, intervals: bool = True) -> Figure:
    """A figure of these repetitions, with made up intervals around their mean."""
    mean = fmean(values)
    around = {"over_rows": (mean - 0.02, mean + 0.02), "over_both": (mean - 0.031, mean + 0.033)}
    return Figure(
        mean=mean,
        std=stdev(values) if len(values) > 1 else None,
        values=tuple(values),
        over_seeds=(mean - 0.01, mean + 0.01) if len(values) > 1 else None,
        **(around if intervals else {}),
    )


def model_row(name: str, level: float, seeds: Sequence[int], first_run: int, **more: Any) -> Row:
    """A model whose figures lie about ``level``; its runs are those from ``first_run`` on."""
    rng = random.Random(name)
    values = {m: [level + place / 50 + rng.uniform(-0.02, 0.02) for _ in seeds] for place, m in enumerate(METRICS)}
    return Row(
        name=name,
        kind="model",
        model=name.split(" ", maxsplit=1)[0],
        figures={metric: figure(of) for metric, of in values.items()},
        valid={metric: figure([v + 0.01 for v in of]) for metric, of in values.items()},
        repetitions=tuple(
            Repetition(seed=seed, runs=(first_run + place,), score=level) for place, seed in enumerate(seeds)
        ),
        best_seed=seeds[-1],
        best_run=first_run + len(seeds) - 1,
        parameters=125_000,
        seconds=61.5 * len(seeds),
        threshold="0.5",
        calibration=Calibration(temperature=1.31, before=0.0912, after=0.0341),
        **more,
    )


def comparison(first: str, second: str, difference: float, verdict: Any, **more: Any) -> Comparison:
    """A comparison with everything in it."""
    return replace(
        Comparison(
            first=first,
            second=second,
            metric="f1",
            difference=difference,
            pairs=3,
            rows=800,
            over_rows=(difference - 0.02, difference + 0.02),
            over_both=(difference - 0.03, difference + 0.03),
            p_bootstrap=0.01,
            p_bootstrap_holm=0.02,
            p_mcnemar=0.00003,
            p_mcnemar_holm=0.00009,
            p_both=0.03,
            p_both_holm=0.06,
            discordant=(41.0, 22.5),
            effect=1.234,
            seeds_needed=7,
            verdict=verdict,
        ),
        **more,
    )


def run_folder(
    folder: Path, *, classes: Sequence[str] = ("safe", "vulnerable"), rows: int = 240, seed: int = 0
) -> Path:
    """A run folder with everything that pictures are drawn from."""
    rng = np.random.default_rng(seed)
    count, epochs = len(classes), 6
    history, lines = [], []
    for epoch in range(epochs):
        shares = rng.dirichlet(np.full(count, 8.0))
        valid: dict[str, Any] = {"loss": 0.7 - 0.05 * epoch + 0.01 * epoch**2, "f1": 0.4 + 0.06 * epoch}
        valid["per_class"] = {
            name: {"predicted_share": float(share), "actual_share": 1 / count}
            for name, share in zip(classes, shares, strict=True)
        }
        history.append(
            {
                "epoch": epoch + 1,
                "update": 20 * (epoch + 1),
                "train_loss": 0.7 - 0.09 * epoch,
                "score": 0.4 + 0.06 * epoch + float(rng.normal(0, 0.02)),
                "grad_norm": 2.0,
                "lr": 1e-3,
                "stepped": 20,
                "valid": valid,
            }
        )
        for step in range(20):
            lines.append(
                {
                    "update": 20 * epoch + step + 1,
                    "epoch": epoch + 1,
                    "loss": 0.7 - 0.09 * (epoch + step / 20) + float(rng.normal(0, 0.02)),
                    "lr": 1e-3 * (1 - (20 * epoch + step) / 120),
                    "grad_norm": float(np.exp(rng.normal(0.5, 0.4))),
                    "skipped": 0,
                    "component_grad_norms": {"body": float(np.exp(rng.normal(0, 0.3))), "head": 2.0},
                }
            )
    config = {"objective": {"metric": "f1", "weights": {}}, "train": {"clip_norm": 1.0}}
    write_json(
        folder / "training_metadata.json",
        {"config": config, "classes": classes, "plan": {"updates_per_epoch": 20}},
    )
    write_json(folder / "training_history.json", {"epochs": history})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(folder / "result.json", {"status": "finished", "best_epoch": 5, "decision": {"temperature": 1.4}})
    write_predictions(folder / "predictions_test.parquet", count, rows, rng)
    return folder


def write_predictions(path: Path, count: int, rows: int, rng: np.random.Generator) -> None:
    """Predictions that are right more often than not."""
    labels = rng.integers(0, count, rows)
    logits = rng.normal(0, 1, (rows, count))
    logits[np.arange(rows), labels] += 1.2
    powers = np.exp(logits)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    columns: Mapping[str, Any] = {
        "row": np.arange(rows),
        "label": labels,
        "probabilities": probabilities.tolist(),
        "predicted": probabilities.argmax(axis=1),
    }
    pq.write_table(pa.table(dict(columns)), path)


def small_report(folder: Path, *, hostile: bool = False, folders: bool = True) -> Report:
    """Three models of three seeds, an average, two baselines; one run failed, one is unfinished."""
    names = [HOSTILE if hostile else "GNN", "TextCNN optimizer.lr=0.001", "BiLSTM"]
    classes = (HOSTILE, "=cmd()") if hostile else ("safe", "vulnerable")
    seeds = (42, 2025, 7)
    rows, runs = [], []
    for place, name in enumerate(names):
        rows.append(model_row(name, 0.70 - 0.04 * place, seeds, len(runs)))
        for seed in seeds:
            path = folder / "runs" / f"{'gnn' if place == 0 else name.split(' ')[0]}_{seed}"
            if folders:
                run_folder(path, classes=classes, seed=seed + place)
            runs.append(_entry(path, name, seed, hostile))
    average = replace(model_row("GNN + BiLSTM", 0.71, seeds, 0), kind="average", members=(names[0], names[2]))
    baselines = [
        Row(name="tfidf_logistic", kind="baseline", figures={m: figure([0.6]) for m in METRICS}),
        Row(name="majority", kind="baseline", figures={"f1": Figure(mean=0.0), "accuracy": Figure(mean=0.54)}),
    ]
    data = DataSet(
        name=HOSTILE if hostile else "demo_code",
        fingerprint="29ec61904adf8d877eaa36a261e30f07",
        split="test",
        size=800,
        classes=classes,
        counts=dict(zip(classes, (437, 363), strict=True)),
        metric="f1",
        maximise=True,
        rows=(*rows, average, *baselines),
        comparisons=(
            comparison(names[0], names[1], 0.041, "rows only"),
            comparison(names[0], names[2], 0.079, "clear"),
            comparison(names[1], names[2], 0.012, "unclear", effect=None, over_both=None),
            comparison(names[0], "tfidf_logistic", 0.11, "clear"),
            comparison(names[0], "majority", 0.7, "clear", p_mcnemar_holm=None),
        ),
        notes=("BiLSTM has no probabilities of seed 7.",),
    )
    lost = [
        RunEntry(folder=folder / "runs" / "gnn_9", status="failed", message=f"optimizer.lr: expected {HOSTILE}"),
        RunEntry(folder=folder / "runs" / "bilstm_8", status="unfinished", model="BiLSTM", data="demo_code", seed=8),
    ]
    return Report(
        created="2026-01-31T12:00:00+00:00",
        version="0.1.0",
        title=f"Runs of {HOSTILE if hostile else 'multirun/models'}",
        paths=("multirun/models",),
        data=(data,),
        runs=(*runs, *lost),
        method=Method(compared=12),
        statuses={"finished": len(runs), "failed": 1, "unfinished": 1},
        seconds=3725.0,
        publication={names[0]: "Trained for 10 epochs with AdamW, learning rate 1e-3 & batch 32."},
    )


def _entry(path: Path, name: str, seed: int, hostile: bool) -> RunEntry:
    finding = {
        "kind": "overfitting",
        "severity": "warning",
        "message": HOSTILE if hostile else "since epoch 2 the training loss fell while validation's rose.",
        "override": "model.dropout=0.2",
        "why": "harder to learn by heart",
    }
    return RunEntry(
        folder=path,
        status="finished",
        model=name.split(" ", maxsplit=1)[0],
        data="demo_code",
        seed=seed,
        data_set=0,
        row=name,
        metric="f1",
        score=0.7123,
        best_epoch=5,
        epochs=6,
        seconds=61.5,
        figures={"f1": 0.7011, "accuracy": 0.7222},
        differs={"model": name, "seed": str(seed)},
        command=f"python src/train.py model=gnn seed={seed} '{HOSTILE if hostile else ''}'",
        fingerprint="29ec61904adf8d877eaa36a261e30f07",
        versions={"counterpoise": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
        hardware="CPU, 2 threads",
        diagnosis=(finding,) if seed == 7 else (),
        temperature=1.4,
    )
