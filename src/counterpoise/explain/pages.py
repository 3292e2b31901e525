"""What an explanation leaves: a line per prediction, a summary, and a page for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from counterpoise.explain.account import Account
from counterpoise.explain.evidence import holds_evidence
from counterpoise.reports.outputs.markdown import plain

QUOTED = 3
"""Chunks of an example on the page."""
LONGEST_QUOTE = 320
"""Characters of a chunk on the page; the line per prediction has all of it."""


def prediction_entry(account: Account, index: int, top: int) -> dict[str, Any]:
    """A sample's answer, and its chunks by the attention that they get.

    Args:
        account: of the split.
        index: of the sample.
        top: most chunks.
    """
    records, probabilities = account.records, account.probabilities[index]
    predicted = int(account.predicted[index])
    known = [name for name in ("group", "criterion") if records.has(name)]
    return {
        "row": int(records.rows[index]),
        **{name: records.table[name][index].as_py() for name in known},
        "label": records.classes[int(records.labels[index])],
        "predicted": records.classes[predicted],
        "probabilities": dict(zip(records.classes, probabilities.tolist(), strict=True)),
        "chunks_in_all": len(account.spans[index]),
        "chunks": _chunks(account, index, predicted, top),
    }


def _chunks(account: Account, index: int, predicted: int, top: int) -> list[dict[str, Any]]:
    weight, towards = account.weight(index), account.towards(index, predicted)
    evidence = account.records.spans_of_evidence(index)
    holds = holds_evidence(account.spans[index], evidence) if len(evidence) else None
    read = [int(chunk) for chunk in np.argsort(-weight, kind="stable")[:top] if weight[chunk] > 0]
    return [
        {
            "chunk": chunk,
            "span": account.spans[index][chunk].tolist(),
            "weight": float(weight[chunk]),
            "contribution": float(towards[:, chunk].sum()),
            "queries": account.attention[index][:, chunk].tolist(),
            **({} if holds is None else {"holds_evidence": bool(holds[chunk])}),
            "text": account.chunk_text(index, chunk),
        }
        for chunk in read
    ]


def chosen_examples(account: Account, each: int) -> list[int]:
    """Samples that are worth a look: of each class the surest hits, and the surest errors, several chunks preferred."""
    probabilities, labels, predicted = account.probabilities, account.records.labels, account.predicted
    several = np.array([len(spans) > 1 for spans in account.spans])
    sure = probabilities[np.arange(len(account)), predicted] + several
    found: list[int] = []
    for label in range(len(account.records.classes)):
        for right in (True, False):
            of = np.flatnonzero((predicted == label) & ((labels == label) == right))
            found += of[np.argsort(-sure[of], kind="stable")[:each]].tolist()
    return found


def page(title: str, account: Account, summary: Mapping[str, Any], examples: Sequence[int], pictures: bool) -> str:
    """``explanations.md``: evidence, queries, and examples with what was read."""
    lines = [f"# {plain(title)}", ""]
    if pictures:
        lines += ["![Attention of examples](attention.png)", ""]
    lines += ["![Over the split](overview.png)", ""]
    lines += [*_evidence_table(summary["evidence"]), *_query_table(summary["queries"]), "## Examples", ""]
    for index in examples:
        lines += _example(prediction_entry(account, index, QUOTED))
    return "\n".join(lines).rstrip() + "\n"


def _evidence_table(evidence: Mapping[str, Any] | None) -> list[str]:
    if evidence is None:
        return []
    lines = ["## Does it look where the truth is?", ""]
    lines += [
        f"{evidence['samples']:,} samples have known evidence; of {evidence['cut_off']:,} it stands in no chunk.",
        "",
    ]
    lines += ["| samples | | by attention | by contribution | by chance |", "|---|---|---|---|---|"]
    for name, said in (("all", "all"), ("predicted_rightly", "predicted rightly")):
        rates = evidence[name]
        for depth in (key for key in rates if key.startswith("hit@")):
            figures = " | ".join(_share(rates[depth][key]) for key in ("weight", "contribution", "chance"))
            lines.append(f"| {said} ({rates['samples']:,}) | {depth} | {figures} |")
    return [*lines, ""]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _query_table(queries: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "## What each query looks for",
        "",
        "| query | part of all effects | chunks read | words |",
        "|---|---|---|---|",
    ]
    for query in queries:
        words = plain(", ".join(query["words"])) or "-"
        lines.append(f"| {query['query'] + 1} | {query['share']:.0%} | {query['read']:.1f} | {words} |")
    return [*lines, ""]


def _example(entry: Mapping[str, Any]) -> list[str]:
    sure = entry["probabilities"][entry["predicted"]]
    right = "rightly" if entry["label"] == entry["predicted"] else f"wrongly, it is {plain(entry['label'])}"
    lines = [f"### Row {entry['row']}: {plain(entry['predicted'])} at {sure:.2f}, {right}", ""]
    if "criterion" in entry:
        lines += [f"Criterion: {plain(entry['criterion'] or '')}", ""]
    for chunk in entry["chunks"]:
        mark = ", holds evidence" if chunk.get("holds_evidence") else ""
        of = f"chunk {chunk['chunk'] + 1} of {entry['chunks_in_all']}"
        lines += [
            f"- {of}, attention {chunk['weight']:.2f}, adds {chunk['contribution']:+.2f}{mark}:",
            f"  > {_quoted(chunk['text'])}",
        ]
    return [*lines, ""]


def _quoted(text: str) -> str:
    flat = plain(" ".join(text.split()))
    return flat if len(flat) <= LONGEST_QUOTE else flat[:LONGEST_QUOTE].rsplit(" ", 1)[0] + " ..."
