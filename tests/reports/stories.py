"""One training for every way in which a rule of the diagnosis can apply, and healthy ones beside them."""

from __future__ import annotations

from typing import Any

from run_kit import NAN, Story, course, epoch, figures, result, update

FALLING = [0.70, 0.62, 0.55, 0.50, 0.46, 0.43, 0.41, 0.40]
RISING = [0.50, 0.60, 0.66, 0.70, 0.73, 0.75, 0.76, 0.765]
FLAT = [0.69] * 8
GOOD = course(FALLING, FALLING, RISING)
IDLE = course(FLAT, FLAT, [0.5] * 8, auc=0.51)
CHANCE = result(0.5, tfidf=0.8, majority=0.6)
EARLY_STOP = {"judge": "early_stopping", "reason": "f1 has not risen"}
MEMORISED = course(
    [0.7, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02],
    [0.69, 0.60, 0.58, 0.60, 0.65, 0.72, 0.85, 0.99],
    [0.5, 0.65, 0.7, 0.69, 0.69, 0.68, 0.68, 0.67],
)
STILL = [0.5, 0.7, 0.75, 0.78, 0.80, 0.80, 0.79, 0.79]
LEVEL = [0.7, 0.6, 0.5, 0.45, 0.42, 0.41, 0.41, 0.41]


def event(**more: Any) -> dict[str, Any]:
    """An event of ``collapse_report.json``."""
    return {
        "kind": "never_predicted",
        "severity": "stop",
        "update": 210,
        "epoch": 2,
        "lr": 1e-3,
        "grad_norm": 0.0,
        "message": "class 'vulnerable' is never predicted",
        "loss_window": [0.7, 0.69],
        "action": "stopped",
        "cause": "the learning rate is too high",
        "explanation": "half of it",
        "override": "optimizer.lr=4e-4",
        **more,
    }


def report(*events: dict[str, Any], rescues: int = 0) -> dict[str, Any]:
    """``collapse_report.json``."""
    one = {"from_update": 210, "to_update": 100, "to_epoch": 1, "lr_factor": 0.5, "reason": "collapsed"}
    listed = [{**one, "number": n + 1, "lr_factor": 0.5 ** (n + 1)} for n in range(rescues)]
    return {"format": 1, "policy": "rescue", "events": list(events), "rescues": listed}


def shares(*predicted: float, **more: Any) -> list[dict[str, Any]]:
    """A course that has converged and predicts the classes so."""
    return course(LEVEL, LEVEL, STILL, shares=predicted, **more)


STACK = {"balance.allow_stacked": True}
STACKED = "balance.allow_stacked=true"
LEAK = {"data_notes": {"leakage": {"shared": {"train/test": {"texts": 9}}}}}
DROP = ("data.leakage=drop",)
NO_LEAK = {"data_notes": {"leakage": {"shared": {"train/test": {"texts": 0}}}}}
OVERDONE = shares(0.2, 0.8)
OVERDOES = result(0.8, valid=figures(0.8, shares=(0.2, 0.8)))
FORGETS = result(0.8, valid=figures(0.8, shares=(0.9, 0.1)))
FAR = result(0.8, test=figures(0.7))
CLOSE = result(0.8, valid=figures(0.8, rows=100), test=figures(0.74, rows=100))

HEALTHY = {
    "learns to the end": Story(epochs=GOOD),
    "ended by early stopping": Story(
        epochs=course(LEVEL, LEVEL, STILL), result=result(ended_by=EARLY_STOP), config={"train.epochs": 50}
    ),
    "one epoch": Story(epochs=GOOD[:1]),
    "the order of the classes was chosen": Story(
        epochs=GOOD,
        metadata={"data_notes": {"classes": {"positive_share": 0.95}}},
        config={"data.labels": ["safe", "vulnerable"]},
        asked=("data=table", "data.path=x", "data.labels=[safe,vulnerable]"),
    ),
    "odd notes of the classes": Story(
        epochs=GOOD, metadata={"data_notes": {"classes": {"positive_share": "x", "few": {"valid": {"safe": None}}}}}
    ),
    "test four points off": Story(epochs=GOOD, result=result(0.8, test=figures(0.76))),
    "validation loss wavers": Story(epochs=course(FALLING, [0.7, 0.6, 0.5, 0.55, 0.52, 0.54, 0.52, 0.53], RISING)),
    "overconfident but better": Story(
        epochs=course(FALLING, [0.6, 0.5, 0.45, 0.5, 0.52, 0.55, 0.57, 0.6], RISING), result=result()
    ),
    "a third of the share": Story(epochs=shares(0.84, 0.16)),
    "memorised after its best, and stopped early": Story(epochs=MEMORISED, result=result(ended_by=EARLY_STOP)),
    "perfect": Story(
        epochs=course(
            [0.7, 0.5, 0.3, 0.1, 0.05, 0.01], [0.69, 0.4, 0.3, 0.35, 0.4, 0.5], [0.5, 0.9, 1.0, 1.0, 1.0, 1.0]
        )
    ),
    "converged": Story(epochs=course(LEVEL, LEVEL, STILL)),
    "test is worse by chance": Story(epochs=GOOD, result=CLOSE),
    "test is worse by what choosing the best epoch explains": Story(
        epochs=GOOD, result=result(0.8, valid=figures(0.80, rows=400), test=figures(0.72, rows=400))
    ),
    "the better branch is better by chance": Story(
        epochs=GOOD, result=result(0.80, branches={"gnn": {"valid": figures(0.9), "test": figures(0.82)}})
    ),
    "two corrections that do not overdo it": Story(
        epochs=GOOD, config={**STACK, "balance.sampler": True}, asked=(STACKED, "balance.sampler=true")
    ),
    "few updates, still running": Story(epochs=IDLE[:1], updates=[update(7, 0.7)], result=None),
    "a threshold that serves both classes": Story(epochs=shares(0.9, 0.1)),
    "a scaler at work": Story(
        epochs=GOOD,
        updates=[update(10, 0.7), update(20, NAN, grad_norm=NAN, skipped=1), update(800, 0.4, skipped=1)],
        result=result(skipped_updates=15),
    ),
    "an epoch whose steps were all skipped": Story(
        epochs=[epoch(0, NAN, 0.7, 0.5, stepped=0, grad_norm=NAN), *GOOD[1:]]
    ),
    "passing warnings": Story(epochs=GOOD, collapse=report(event(severity="warning", action="warned"))),
    "a rare class that some updates lack": Story(
        epochs=GOOD, updates=[update(n, 0.1 if n < 60 else 1.5 if n == 500 else 0.5) for n in range(10, 801, 10)]
    ),
    "steep but falling": Story(
        epochs=[epoch(n, FALLING[n], FALLING[n], RISING[n], grad_norm=50.0 if n else 2.0) for n in range(8)]
    ),
    "dropout makes training the harder part": Story(
        epochs=course([1.0, 0.9, 0.8], [0.5, 0.45, 0.52], [0.7, 0.69, 0.68]), result=None
    ),
    "a better score at a higher loss": Story(
        epochs=course([0.6, 0.5, 0.45], [0.6, 0.5, 0.52], [0.5, 0.6, 0.7]), config={"train.epochs": 3}
    ),
    "focal loss without alpha": Story(
        epochs=GOOD,
        config={**STACK, "loss": {"_target_": "counterpoise.losses.Focal", "alpha": "auto"}},
        metadata={"classes": ["a", "b", "c"]},
    ),
    "nothing was seen": Story(epochs=GOOD, collapse=report()),
    "still running": Story(epochs=GOOD[:2], result=None),
    "not begun": Story(epochs=(), result=None),
    "refused": Story(epochs=(), result=None, failure={"status": "failed", "message": "x"}),
}

STORIES = {
    "rate too low": Story(
        epochs=IDLE,
        plan={"lr": 1e-6},
        config={"optimizer.lr": 1e-6},
        asked=("optimizer.lr=1e-6",),
        result=CHANCE,
        kinds=("not_learning",),
        override="optimizer.lr=0.001",
    ),
    "rate too high": Story(
        epochs=IDLE,
        plan={"lr": 0.5},
        config={"optimizer.lr": 0.5},
        asked=("optimizer.lr=0.5",),
        result=CHANCE,
        kinds=("not_learning",),
        override="optimizer.lr=0.001",
    ),
    "overshoots": Story(
        epochs=IDLE,
        updates=[update(n, 1.4 if 300 < n < 400 else 0.7) for n in range(10, 801, 10)],
        kinds=("not_learning",),
        override="optimizer.lr=0.0001",
    ),
    "usual rate": Story(epochs=IDLE, kinds=("not_learning",)),
    "few updates": Story(
        epochs=IDLE[:1],
        result=result(updates=7),
        config={"train.epochs": 1},
        asked=("train.epochs=1",),
        kinds=("not_learning",),
        override="train.epochs=43",
    ),
    "few updates before early stopping": Story(
        epochs=IDLE[:6],
        result=result(updates=84, ended_by=EARLY_STOP),
        config={"train.epochs": 30},
        asked=("train.epochs=30",),
        kinds=("not_learning",),
        override="early_stopping.patience=22",
    ),
    "blown up, and falling": Story(
        epochs=course([900.0, 300.0, 90.0], [900.0, 300.0, 90.0], [0.5] * 3, auc=0.51),
        plan={"lr": 100.0},
        config={"optimizer.lr": 100.0, "train.epochs": 3},
        asked=("optimizer.lr=100",),
        kinds=("not_learning",),
        override="optimizer.lr=0.001",
    ),
    "majority": Story(
        epochs=[{**e, "valid": {"loss": 0.69, "f1": 0.6}} for e in IDLE],
        result=CHANCE,
        kinds=("not_learning",),
    ),
    "NaN loss": Story(
        epochs=GOOD[:1],
        updates=[update(10, 0.7), update(110, NAN)],
        result=None,
        failure={"status": "aborted", "message": "non_finite"},
        kinds=("exploding",),
        override="optimizer.lr=0.0001",
    ),
    "NaN gradient in fp16": Story(
        epochs=GOOD,
        plan={"precision": "fp16"},
        updates=[update(10, 0.7, grad_norm=NAN)],
        config={"hardware.precision": "fp16"},
        asked=("hardware.precision=fp16",),
        kinds=("exploding",),
        override="hardware.precision=fp32",
    ),
    "NaN validation": Story(
        epochs=[*GOOD[:2], {**GOOD[2], "score": NAN, "valid": {"loss": NAN}}],
        result=None,
        kinds=("exploding",),
        override="optimizer.lr=0.0001",
    ),
    "loss grows": Story(
        epochs=course([0.7, 0.9, 1.5], [0.7, 0.9, 1.5], [0.6, 0.5, 0.5]),
        result=None,
        kinds=("exploding",),
        override="optimizer.lr=0.0001",
    ),
    "gradient grows": Story(
        epochs=[epoch(0, 0.7, 0.7, 0.6, grad_norm=2.0), epoch(1, 0.71, 0.7, 0.6, grad_norm=60.0)],
        result=None,
        kinds=("exploding",),
        override="optimizer.lr=0.0001",
    ),
    "memorised": Story(epochs=MEMORISED, kinds=("overfitting",), override="model.dropout=0.5"),
    "memorised with all dropout": Story(
        epochs=MEMORISED,
        config={"model.dropout": 0.5},
        asked=("model.dropout=0.5",),
        kinds=("overfitting",),
        override="loss.label_smoothing=0.1",
    ),
    "memorised with all of both": Story(
        epochs=MEMORISED,
        config={"model.dropout": 0.5, "loss.label_smoothing": 0.2},
        asked=("model.dropout=0.5", "loss.label_smoothing=0.2"),
        kinds=("overfitting",),
        override="optimizer.weight_decay=0.1",
    ),
    "memorised noise": Story(epochs=course(FALLING, FLAT, [0.5] * 8, auc=0.51), kinds=("overfitting",)),
    "cut short": Story(
        epochs=course(FALLING[:4], FALLING[:4], RISING[:4]),
        config={"train.epochs": 4},
        asked=("train.epochs=4",),
        kinds=("underfitting",),
        override="train.epochs=8",
    ),
    "stopped while it learnt": Story(
        epochs=course(FALLING[:6], FALLING[:6], [0.0] * 6, shares=(1.0, 0.0)),
        result=result(0.0, valid=figures(0.0, shares=(1.0, 0.0)), ended_by=EARLY_STOP, updates=600, tfidf=0.8),
        config={"train.epochs": 30},
        asked=("train.epochs=30",),
        kinds=("underfitting",),
        override="early_stopping.patience=24",
    ),
    "a class forgotten": Story(
        epochs=shares(0.9, 0.1),
        result=FORGETS,
        config={"balance.class_weights": "none"},
        asked=("balance=none",),
        kinds=("under_prediction",),
        override="balance.class_weights=inverse_frequency",
    ),
    "forgotten though balanced": Story(
        epochs=shares(0.9, 0.1), result=FORGETS, kinds=("under_prediction",), override="threshold=tune"
    ),
    "forgotten though sampled": Story(
        epochs=shares(0.9, 0.1),
        result=FORGETS,
        config={"balance.class_weights": "none", "balance.sampler": True},
        asked=("balance=sampler",),
        kinds=("under_prediction",),
        override="threshold=tune",
    ),
    "forgotten in spite of all": Story(
        epochs=shares(0.9, 0.1),
        result=FORGETS,
        config={"threshold": "tune"},
        asked=("threshold=tune",),
        kinds=("under_prediction",),
    ),
    "a class of nine rows": Story(
        epochs=shares(1.0, 0.0, rows=18),
        result=result(0.8, valid=figures(0.8, shares=(1.0, 0.0), rows=18), test=figures(0.6, rows=18), tfidf=0.7),
        kinds=("few_rows",),
    ),
    "below words": Story(
        epochs=course(LEVEL, LEVEL, STILL),
        result=result(0.6, tfidf=0.8, ended_by=EARLY_STOP),
        kinds=("below_baseline",),
    ),
    "below words while it still learns": Story(
        epochs=GOOD, result=result(0.6, tfidf=0.8), kinds=("below_baseline",), override="train.epochs=24"
    ),
    "below words at a rate far from its own": Story(
        epochs=GOOD,
        result=result(0.6, tfidf=0.8),
        config={"optimizer.lr": 1e-4},
        plan={"lr": 1e-4},
        asked=("optimizer.lr=1e-4",),
        kinds=("below_baseline",),
        override="optimizer.lr=0.001",
    ),
    "below its better branch": Story(
        epochs=course(LEVEL, LEVEL, STILL),
        result=result(
            0.6,
            ended_by=EARLY_STOP,
            branches={
                "transformer": {"model": "TextCNN", "valid": figures(0.9), "test": figures(0.7)},
                "gnn": {"model": "GNN", "valid": figures(0.5), "test": figures(0.5)},
                "average": {"valid": figures(0.9), "test": figures(0.75)},
            },
        ),
        kinds=("below_branch",),
    ),
    "test is worse, texts leak": Story(
        epochs=GOOD, result=FAR, metadata=LEAK, kinds=("test_differs",), override="data.leakage=drop"
    ),
    "test is worse, and nothing leaks": Story(epochs=GOOD, result=FAR, metadata=NO_LEAK, kinds=("test_differs",)),
    "sampler and weights": Story(
        epochs=OVERDONE,
        result=OVERDOES,
        config={**STACK, "balance.sampler": True},
        asked=(STACKED, "balance.sampler=true"),
        kinds=("stacked_corrections",),
        override="balance.sampler=false",
    ),
    "weights and alpha": Story(
        epochs=OVERDONE,
        result=OVERDOES,
        config={**STACK, "loss": {"_target_": "counterpoise.losses.Focal", "alpha": "auto"}},
        asked=(STACKED, "loss=focal"),
        kinds=("stacked_corrections",),
        override="balance.class_weights=none",
    ),
    "effective number and alpha": Story(
        epochs=OVERDONE,
        result=OVERDOES,
        config={
            **STACK,
            "balance.class_weights": "effective_number",
            "balance.beta": 0.99,
            "loss": {"_target_": "counterpoise.losses.Focal", "alpha": 0.3},
        },
        asked=(STACKED, "loss=focal", "loss.alpha=0.3", "balance=effective_number", "balance.beta=0.99"),
        kinds=("stacked_corrections",),
        override="loss.alpha=null",
    ),
    "effective number and pos_weight": Story(
        epochs=OVERDONE,
        result=OVERDOES,
        config={
            **STACK,
            "balance.class_weights": "effective_number",
            "balance.beta": 0.99,
            "loss": {"_target_": "counterpoise.losses.WeightedBCE", "pos_weight": "auto"},
        },
        asked=(STACKED, "loss=weighted_bce", "balance=effective_number", "balance.beta=0.99"),
        kinds=("stacked_corrections",),
        override="loss.pos_weight=1.0",
    ),
    "fp16 overflows": Story(
        epochs=GOOD,
        plan={"precision": "fp16"},
        result=result(skipped_updates=40),
        asked=("hardware.precision=fp16",),
        kinds=("skipped_updates",),
        override="hardware.precision=fp32",
    ),
    "the common class is the positive one": Story(
        epochs=GOOD,
        metadata={"data_notes": {"classes": {"positive_share": 0.95}}},
        config={"data.labels": None},
        asked=("data=table", "data.path=x"),
        kinds=("positive_majority",),
        override="data.labels=[vulnerable,safe]",
    ),
    "a handful of records": Story(
        epochs=GOOD,
        metadata={"data_notes": {"classes": {"few": {"train": {"safe": 1}, "valid": {"safe": 4}}}}},
        kinds=("few_records",),
        override="",
    ),
    "collapsed": Story(
        epochs=IDLE[:3],
        result=CHANCE | {"status": "collapsed"},
        collapse=report(event(), rescues=2),
        kinds=("collapsed",),
        override="optimizer.lr=4e-4",
    ),
    "collapsed without a word": Story(
        epochs=IDLE[:3], result=CHANCE | {"status": "collapsed"}, kinds=("collapsed",), override="optimizer.lr=0.0005"
    ),
    "a collapse that was only warned of": Story(
        epochs=GOOD,
        collapse=report(event(action="warned", override="nonsense")),
        kinds=("collapsed",),
        override="optimizer.lr=0.0005",
    ),
    "rescued": Story(
        epochs=GOOD,
        collapse=report(event(action="rescued"), rescues=2),
        kinds=("rescued",),
        override="optimizer.lr=0.00025",
    ),
    "rescued, and cut short": Story(
        epochs=course(FALLING[:4], FALLING[:4], RISING[:4]),
        config={"train.epochs": 4},
        asked=("train.epochs=4",),
        collapse=report(event(action="rescued"), rescues=1),
        kinds=("underfitting", "rescued"),
        override="train.epochs=8",
    ),
}
