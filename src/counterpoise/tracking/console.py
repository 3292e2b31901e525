"""The console: a live progress bar and an epoch table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from counterpoise.errors import escape_control
from counterpoise.events import Alarm, BaseObserver, Decision, EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.line_console import LineConsole

PLAIN_WIDTH = 1000
"""Columns of a file or a pipe: no table is folded to fit."""
WIDTHS = (5, 10, 10, 10, 9, 9)
FEWEST_COLUMNS = 3
"""That a table keeps on however narrow a terminal."""
LONGEST_LABEL = 24
"""Columns of the terminal for a label before it is folded."""
SHOWN_CLASSES = 4
"""Classes that have a column in the epoch table; the history holds all."""


def make_console(*, stderr: bool = False) -> Console:
    """A console that shows text as it is, and never wraps it when its output goes to a file or a pipe."""
    console = LineConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
        console = LineConsole(stderr=stderr, width=PLAIN_WIDTH, **plain)
    return console


class ConsoleObserver(BaseObserver):
    """Shows how training goes.

    Args:
        console: where to.
        classes: class names; the share that is predicted as each is shown every epoch.
        metric: name of the figure that decides.
    """

    def __init__(self, console: Console, classes: Sequence[str], metric: str) -> None:
        self.console = console
        self.classes = list(classes)
        self.metric = metric
        self._progress: Progress | None = None
        self._total = 0

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Open the bar, or say where training begins."""
        self._total = plan["total_updates"]
        done = plan["position"]["update"]
        if done:
            self.console.print(f"Resuming after update {done} of {self._total}.")
        self.console.print(self._header())
        for epoch in plan["history"]:
            self.console.print(self._row(EpochEvent(**epoch)))
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn(
                    "loss {task.fields[loss]}  lr {task.fields[lr]}  |g| {task.fields[norm]}  {task.fields[speed]}/s"
                ),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._progress.start()
            self._task = self._progress.add_task(
                "", total=self._total, completed=done, epoch="1", loss="-", lr="-", norm="-", speed="-"
            )

    def on_update(self, event: UpdateEvent) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(
                self._task,
                completed=event.update,
                epoch=str(event.epoch),
                loss=f"{event.loss:.4f}",
                lr=f"{event.lr:.2e}",
                norm=f"{event.grad_norm:.2f}",
                speed=f"{event.samples_per_second:.0f}",
            )

    def on_epoch(self, event: EpochEvent) -> None:
        """One row of the epoch table."""
        self.console.print(self._row(event))

    def on_alarm(self, alarm: Alarm, action: str) -> None:
        """What a guard saw, and what to try."""
        self.console.print(f"Guard: {alarm.message} ({action}).")
        self.console.print(f"  Likely cause: {alarm.cause.replace('_', ' ')}: {alarm.explanation}.")
        self.console.print(f"  Try: {alarm.override}")

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Where training goes on, and how."""
        precision = f", in {rescue.precision}" if rescue.precision else ""
        self.console.print(
            f"Rescue {rescue.number}: back to update {rescue.to_update} (epoch {rescue.to_epoch}), "
            f"learning rate × {rescue.lr_factor:g}, warm-up over {rescue.warmup_updates} updates{precision}."
        )
        if self._progress is not None:
            self._progress.update(self._task, completed=rescue.to_update, epoch=str(rescue.to_epoch))

    def on_finish(self, verdict: Verdict) -> None:
        """Close the bar, and say why training ended early, if it did."""
        self.close()
        if verdict.decision >= Decision.STOP:
            self.console.print(f"Training ended by {verdict.judge}: {verdict.reason}.")

    def close(self) -> None:
        """Give the terminal back; does no harm twice."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _header(self) -> str:
        names = ("epoch", "train loss", "valid loss", self.metric[:10], "accuracy", "macro f1")
        figures = " ".join(f"{name:>{width}}" for name, width in zip(names, WIDTHS, strict=True))
        shares = " ".join(f"{escape_control(name)[:12]:>12}" for name in self.classes[:SHOWN_CLASSES])
        return f"{figures}  predicted as {shares}  {'seconds':>7}"

    def _row(self, event: EpochEvent) -> str:
        valid = event.valid
        rates = [float(valid.get(name, "nan")) for name in ("accuracy", "macro_f1")]
        values = [f"{value:.4f}" for value in (event.train_loss, valid["loss"], event.score, *rates)]
        figures = " ".join(f"{v:>{width}}" for v, width in zip([str(event.epoch), *values], WIDTHS, strict=True))
        shares = " ".join(f"{self._share(valid, name):>12.1%}" for name in self.classes[:SHOWN_CLASSES])
        return f"{figures} {'':>13} {shares}  {event.seconds:>7.1f}{' *' if event.is_best else ''}"

    def _share(self, valid: Mapping[str, Any], name: str) -> float:
        return float(valid.get("per_class", {}).get(name, {}).get("predicted_share", "nan"))


RESULT_COLUMNS = ("accuracy", "f1", "precision", "recall", "macro_f1", "roc_auc", "pr_auc", "mcc")


def result_table(title: str, rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str] = RESULT_COLUMNS) -> Table:
    """Figures by row; an undefined one is shown as a dash."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, figures in rows.items():
        table.add_row(name, *(_number(figures.get(column)) for column in columns))
    return table


def show_table(console: Console, table: Table) -> None:
    """Print a table whose figures are never cut: of too many columns the last ones are left out, which files have."""
    before = len(table.columns)
    while len(table.columns) > FEWEST_COLUMNS and _least_width(table) > console.width:
        table.columns.pop()
    if len(table.columns) < before:
        table.caption, table.caption_justify = f"{before - len(table.columns)} more columns in a wider terminal", "left"
    console.print(table)


def _least_width(table: Table) -> int:
    """Below which figures would be cut; a label may be folded, a heading broken between its words."""
    total = 1
    for place, column in enumerate(table.columns):
        heading = max((cell_len(word) for word in escape_control(str(column.header)).split()), default=0)
        longest = max((cell_len(escape_control(str(cell))) for cell in column.cells), default=0)
        total += 3 + max(heading, min(longest, LONGEST_LABEL) if place == 0 else longest)
    return total


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) and value == value else "-"
