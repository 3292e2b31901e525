"""Training details of a row as a paragraph for a paper, filled in from what its runs recorded, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from counterpoise.reports.jobs import REPEATS
from counterpoise.reports.reading import find, finite, number, section, whole, word
from counterpoise.reports.report import DataSet, Method, Row
from counterpoise.reports.runs import RunRecord

UNKNOWN = "not recorded"
SHOWN = ("counterpoise", "torch", "transformers", "numpy", "python")
"""Packages whose versions are named, where runs recorded them."""
UNNAMED = ("_target_", "lr", "scaling", "base_batch", "warmup_ratio", "allow_stacked")
"""Settings of a component that its own words, or others, say already."""


def paragraph(row: Row, records: Sequence[RunRecord], data: DataSet, method: Method) -> str:
    """What a reader must know to train it again.

    Args:
        row: of a model.
        records: its runs.
        data: what it was measured on.
        method: how its figures were computed.
    """
    return " ".join(sentence for sentence in _sentences(row, records, data, method) if sentence)


def _sentences(row: Row, records: Sequence[RunRecord], data: DataSet, method: Method) -> Iterator[str]:
    parameters = UNKNOWN if row.parameters is None else f"{row.parameters:,}"
    yield f"{row.name}: {_component(records, 'model')}, trained parameters: {parameters}."
    yield f"Data: {data.name} (fingerprint {data.fingerprint or UNKNOWN}), {_samples(records)}."
    yield f"Optimizer: {_component(records, 'optimizer')}; {_learning_rate(records)}."
    yield f"Schedule: {_component(records, 'scheduler')}, warm-up over {_warmup(records)} of all updates."
    yield _batches(records)
    yield _length(records)
    yield f"Gradient norms clipped at {_config(records, 'train', 'clip_norm', none='no value')}."
    yield f"Loss: {_component(records, 'loss')}. Balance: {_component(records, 'balance')}."
    hardware = _told([word(record.metadata, "hardware") for record in records])
    yield f"Precision: {_plan(records, 'precision')}. Hardware: {hardware}."
    yield _answer(row)
    yield _repetitions(row)
    yield _versions(records)
    yield _figures(row, data, method)


def _told(values: Sequence[str]) -> str:
    """What all runs say; where they differ, each once."""
    return " or ".join(dict.fromkeys(value or UNKNOWN for value in values))


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _component(records: Sequence[RunRecord], group: str) -> str:
    """Its class and settings."""
    return _told([_described(section(record.config, group)) for record in records])


def _described(node: Mapping[str, object]) -> str:
    if not node:
        return UNKNOWN
    name = str(node.get("_target_", UNKNOWN)).rsplit(".", 1)[-1]
    settings = [f"{key} {_shown(value)}" for key, value in _leaves(node)]
    return f"{name} ({', '.join(settings)})" if settings else name


def _leaves(node: Mapping[str, object], where: str = "") -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{where}{key}.")
        elif key not in UNNAMED:
            yield f"{where}{key}", value


def _config(records: Sequence[RunRecord], *keys: str, none: str = "none") -> str:
    return _told([_entry(record.config, keys, none) for record in records])


def _plan(records: Sequence[RunRecord], key: str) -> str:
    return _told([_entry(record.plan, (key,), "none") for record in records])


def _warmup(records: Sequence[RunRecord]) -> str:
    shares = [number(record.plan, "warmup_ratio") for record in records]
    return _told([f"{share:.1%}" if finite(share) else "" for share in shares])


def _entry(node: Mapping[str, object], keys: Sequence[str], none: str) -> str:
    there, value = find(node, *keys)
    if not there:
        return ""
    return none if value is None else _shown(value)


def _samples(records: Sequence[RunRecord]) -> str:
    return f"training records: {_plan(records, 'samples')}"


def _learning_rate(records: Sequence[RunRecord]) -> str:
    given, scaling = (_config(records, "optimizer", key) for key in ("lr", "scaling"))
    scaled = f"given {given}, scaling by effective batch {scaling}, factor {_plan(records, 'lr_factor')}"
    return f"peak learning rate {_plan(records, 'lr')} ({scaled})"


def _batches(records: Sequence[RunRecord]) -> str:
    tokens = _plan(records, "batch_tokens")
    bound = "" if tokens in ("none", UNKNOWN) else f", at most {tokens} tokens at once"
    parts = f"{_plan(records, 'batch_size')} × {_plan(records, 'accumulation')}"
    return f"Effective batch {_plan(records, 'effective_batch')} ({parts}{bound})."


def _length(records: Sequence[RunRecord]) -> str:
    trained = [whole(record.result, "epochs") for record in records]
    known = [count for count in trained if count is not None]
    seen = f", {_range(known)} trained" if known else ""
    stopping = [section(record.config, "early_stopping") for record in records]
    how = _told([_early_stopping(node) for node in stopping])
    objective = _told([record.objective.name if record.objective else "" for record in records])
    best = f"the best epoch by {objective} on validation was kept"
    return f"Epochs: {_plan(records, 'epochs')} at most{seen}; early stopping: {how}; {best}."


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _early_stopping(node: Mapping[str, object]) -> str:
    if not node:
        return ""
    if node.get("enabled") is False:
        return "off"
    return f"patience {_shown(node.get('patience'))}, least gain {_shown(node.get('min_delta'))}"


def _answer(row: Row) -> str:
    parts = [f"class 1 predicted from probability {row.threshold} on"] if row.threshold else []
    if row.calibration is not None:
        parts.append(
            f"probabilities calibrated by temperature scaling (mean temperature {row.calibration.temperature:.3g})"
        )
    return f"Answers: {', '.join(parts)}." if parts else ""


def _repetitions(row: Row) -> str:
    seeds = [str(repetition.seed) for repetition in row.repetitions]
    folds = max((len(repetition.folds) for repetition in row.repetitions), default=0)
    over = f", each over {folds} folds" if folds > 1 else ""
    name, _ = REPEATS
    return f"{name.capitalize()}s: {', '.join(seeds)}{over}."


def _versions(records: Sequence[RunRecord]) -> str:
    versions = {name: _told([word(record.metadata, "machine", name) for record in records]) for name in SHOWN}
    named = [f"{name} {version}" for name, version in versions.items() if version != UNKNOWN]
    return f"Versions: {', '.join(named)}." if named else f"Versions: {UNKNOWN}."


def _figures(row: Row, data: DataSet, method: Method) -> str:
    split = {"test": "the test split", "valid": "the validation split", "out of fold": "the held-out folds"}[data.split]
    what = "means" if len(row.repetitions) > 1 or row.over == "folds" else "of one run"
    spread = f" ± sample standard deviation over {row.over}" if what == "means" else ""
    intervals = ""
    if any(figure.over_rows for figure in row.figures.values()):
        intervals = f"; {method.confidence:.0%} intervals over rows by a bootstrap of {method.resamples:,} resamples"
    lacking = f" They are not complete: {row.incomplete}." if row.incomplete else ""
    return f"Figures on {split} ({data.size:,} rows) are {what}{spread}{intervals}.{lacking}"
