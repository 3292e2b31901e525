"""How a protocol is shown: a table of criteria, what was wanted and seen, and the verdict in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from counterpoise.line_console import styled

VERDICTS = {True: ("pass", "green"), False: ("FAIL", "bold red"), None: ("not judged", "yellow")}


def verdict_line(protocol: Mapping[str, Any]) -> str:
    """The whole protocol in one line, e.g. ``stability_check: failed, 2 of 9 criteria are not met (F1, shares).``"""
    rows = protocol.get("criteria", [])
    judged = [row for row in rows if row.get("passed") is not None]
    failed = [str(row.get("name")) for row in judged if not row["passed"]]
    aside = f"; not judged: {', '.join(str(row.get('name')) for row in rows if row.get('passed') is None)}"
    rest = aside if len(judged) < len(rows) else ""
    name = str(protocol.get("name") or "protocol")
    if protocol.get("passed"):
        return f"{name}: passed, all {len(judged)} criteria are met{rest}."
    return f"{name}: failed, {len(failed)} of {len(judged)} criteria are not met ({', '.join(failed)}){rest}."


def show_protocol(console: Console, protocol: Mapping[str, Any]) -> None:
    """Print the table and the line, as ``result.json`` holds them."""
    table = Table(title=str(protocol["name"]), title_justify="left")
    for name in ("criterion", "wanted", "seen"):
        table.add_column(name, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for row in protocol["criteria"]:
        word, style = VERDICTS[row["passed"]]
        table.add_row(row["name"], row["wanted"], row["seen"], styled(word, style))
    console.print(table)
    console.print(verdict_line(protocol), soft_wrap=True)
