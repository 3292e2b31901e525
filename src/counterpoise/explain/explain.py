"""One run, explained: opened, accounted for, written down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE
from counterpoise.errors import fail, near
from counterpoise.explain.account import Account, make_account
from counterpoise.explain.evidence import evidence_figures
from counterpoise.explain.pages import chosen_examples, page, prediction_entry
from counterpoise.explain.picture import draw_examples, draw_overview
from counterpoise.explain.queries import chunk_figures, query_figures
from counterpoise.files import own_folder
from counterpoise.jsonio import as_bytes, dumps, write_together
from counterpoise.opening import OpenedRun, open_run, saved_probabilities, told_split
from counterpoise.paths import user_path

log = logging.getLogger(__name__)

TOLERANCE = 0.05
"""Furthest that a probability may be from the run's own, which may have been computed in half precision."""
PICTURED = 6
"""Most examples in the picture."""


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """What to explain, and where to put it."""

    run: str
    """Folder of a finished run of a model over chunks: iris, hierarchical."""
    split: Literal["train", "valid", "test"] | None = None
    """Whose predictions; null takes test where there is one, else valid."""
    chunks: Annotated[int, AT_LEAST_ONE] = 10
    """Most chunks that are listed of a prediction."""
    examples: Annotated[int, NON_NEGATIVE] = 2
    """Sure hits, and sure errors, of each class on the page."""
    out: str | None = None
    """Folder for what is written; null: explanations/SPLIT in the run folder."""
    cache: str | None = None
    """Folder of encoded data; null: the run's own."""
    extensions: tuple[str, ...] = ()
    """Modules of your own that the run's config may name."""


def explain(config: ExplainConfig, console: Console) -> Path:
    """Explain every prediction of a split.

    Returns:
        the folder that was written.

    Raises:
        UserError: if the run cannot be opened, or its model gives no account of chunks.
    """
    cache = None if config.cache is None else user_path(config.cache, "cache")
    opened = open_run(user_path(config.run, "run"), config.extensions, cache)
    split = told_split(opened, config.split)
    account = _account(opened, split, console)
    difference = _furthest(opened, split, account)
    summary = {
        "run": near(opened.run.folder),
        "model": type(opened.model).__name__,
        "split": split,
        "furthest_probability": difference,
        "evidence": evidence_figures(account),
        "queries": query_figures(account),
        "chunks": chunk_figures(account),
    }
    folder = _write(opened, account, summary, config)
    _show(console, account, summary, folder)
    return folder


def _account(opened: OpenedRun, name: str, console: Console) -> Account:
    split: Any = opened.encoded.splits[name]
    if not hasattr(opened.model, "attribute") or not hasattr(split, "spans"):
        called = type(opened.model).__name__
        raise opened.run.refuse(
            f"is a {called}, which gives no account of chunks.", "Models that do: iris, hierarchical."
        )
    records = opened.dataset.splits()[name]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"explaining {name}", total=len(records))
        account = make_account(opened.model, split, records, lambda done: progress.advance(task, done))
    return replace(account, decision=opened.decision)


def _furthest(opened: OpenedRun, split: str, account: Account) -> float | None:
    """How far the probabilities are from those that the run left; a warning where that is another model's distance."""
    saved = saved_probabilities(opened, split)
    if saved is None or saved.shape != account.probabilities.shape:
        return None
    furthest = float(np.abs(saved - account.probabilities).max())
    if furthest > TOLERANCE:
        log.warning("Probabilities differ from those that the run left by up to %.3f.", furthest)
    return furthest


def _write(opened: OpenedRun, account: Account, summary: Mapping[str, Any], config: ExplainConfig) -> Path:
    """Write all of it; returns the folder.

    Raises:
        UserError: if it cannot be written, or lies behind a link in the run folder.
    """
    names = ("explanations", str(summary["split"])) if config.out is None else ()
    home = opened.run.folder if config.out is None else user_path(config.out, "out")
    folder = home.joinpath(*names)
    examples = chosen_examples(account, config.examples)
    entries = (prediction_entry(account, index, config.chunks) for index in range(len(account)))
    lines = (dumps(entry, indent=None) for entry in entries)
    title = f"Why {summary['model']} answers as it does: {summary['split']} split of {summary['run']}"
    text = page(title, account, summary, examples, pictures=bool(examples))
    pictured = examples[:: max(1, -(-len(examples) // PICTURED))] if examples else []
    writers: dict[str, Callable[[IO[bytes]], object]] = {
        "predictions.jsonl": lambda file: file.writelines(f"{line}\n".encode() for line in lines),
        "summary.json": lambda file: file.write(as_bytes(summary)),
        "overview.png": lambda file: draw_overview(file, account, summary),
        "explanations.md": lambda file: file.write(text.encode()),
    }
    if pictured:
        writers["attention.png"] = lambda file: draw_examples(file, account, pictured)
    try:
        write_together(own_folder(home, *names), writers)
        if not pictured:
            (folder / "attention.png").unlink(missing_ok=True)  # of an earlier explanation with examples
    except OSError as error:
        raise fail(str(folder), f"cannot be written: {error}.", "Name another folder with out=...") from error
    return folder


def _show(console: Console, account: Account, summary: Mapping[str, Any], folder: Path) -> None:
    evidence = summary["evidence"]
    if evidence is not None:
        table = Table(title=f"Evidence among the chunks that are ranked first, {evidence['samples']:,} samples")
        for column in ("", "by attention", "by contribution", "by chance"):
            table.add_column(column, justify="right" if column else "left")
        for name, rates in evidence["all"].items():
            if name.startswith("hit@"):
                values = (rates[key] for key in ("weight", "contribution", "chance"))
                table.add_row(name, *("-" if value is None else f"{value:.3f}" for value in values))
        console.print(table)
    table = Table(title=f"What each query looks for, {len(account):,} predictions")
    for column in ("query", "of all effects", "chunks read", "words"):
        table.add_column(column, justify="left" if column == "words" else "right", overflow="fold")
    for query in summary["queries"]:
        figures = f"{query['share']:.0%}", f"{query['read']:.1f}"
        table.add_row(str(query["query"] + 1), *figures, ", ".join(query["words"][:8]) or "-")
    console.print(table)
    console.print(f"Explanations: {near(folder)}", soft_wrap=True)
