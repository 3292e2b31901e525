"""What the numbers of records of each class leave open, as the notes of the data have them."""

from __future__ import annotations

from counterpoise.data.class_counts import FEW, MAJORITY, turned
from counterpoise.reports.findings import Finding
from counterpoise.reports.reading import find, finite, number, section, whole
from counterpoise.reports.runs import RunRecord


def positive_majority(record: RunRecord) -> Finding | None:
    """The positive class is the common one, by no choice of the user's."""
    share = number(record.metadata, "data_notes", "classes", "positive_share")
    there, labels = find(record.config, "data", "labels")
    if len(record.classes) != 2 or not finite(share) or share < MAJORITY or not there or labels is not None:
        return None
    return Finding(
        kind="positive_majority",
        severity="warning",
        message=(
            f"class 1 is {record.classes[1]!r}, {share:.1%} of the training records: F1, precision, recall, PR AUC "
            "and the threshold are about it."
        ),
        evidence={"positive_share": share, "limit": MAJORITY},
        override=turned(record.classes),
        why=f"they are then about {record.classes[0]!r}",
    )


def _is_missed(record: RunRecord, split: str, name: str) -> bool:
    """Whether no record of a split is predicted as a class."""
    return number(record.result, split, "per_class", name, "predicted") == 0


def few_records(record: RunRecord) -> Finding | None:
    """Classes of the validation or test split with too few records for a figure to mean anything."""
    found = {}
    for split in ("valid", "test"):
        few = section(record.metadata, "data_notes", "classes", "few", split)
        counts = {str(name): n for name in few if (n := whole(few, name)) is not None and 0 < n < FEW}
        if counts:
            found[split] = min(counts.items(), key=lambda item: item[1])
    if not found:
        return None
    told = [
        f"class {name!r} has {n} record{'s' if n > 1 else ''} in {split}, {100 / n:.0f} points of its recall each"
        + (", and is never predicted there" if _is_missed(record, split, name) else "")
        for split, (name, n) in found.items()
    ]
    return Finding(
        kind="few_records",
        severity="warning",
        message=f"{'; '.join(told)}: figures of such a class mean little.",
        evidence={f"{split}_records": n for split, (_, n) in found.items()},
    )
