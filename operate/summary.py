"""What a run ends with: rows, sales, freshness and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lakehouse.errors import TableError
from lakehouse.percentiles import SHARES, percentiles
from lakehouse.settings import Settings
from lakehouse.tables import TABLES
from operate.audit import Finding, audit
from operate.lake import open_table, query
from operate.sales_view import SalesView
from serving.state import read_state

# Of a digest, for eyes; `lakehouse audit --json` has all of it.
_DIGITS = 12


def summarise(settings: Settings, sales: SalesView, console: Console) -> bool:
    """Prints it. Out: are all promises kept?"""
    rows = Grid(box=None, pad_edge=False)
    rows.add_column("table")
    rows.add_column("rows", justify="right")
    rows.add_column("one row per")
    for table in TABLES:
        with suppress(TableError):  # gold's slower tables come with their first round
            rows.add_row(table.name, f"{open_table(table, settings).count():,}", table.grain)
    console.print(rows)
    purchases, units, revenue = query(
        """SELECT (SELECT count(*) FROM silver.events WHERE event_type = 'purchase'),
                  coalesce(sum(units), 0)::BIGINT, coalesce(sum(revenue), 0) FROM gold.product_sales""",
        settings,
    ).fetchall()[0]
    console.print(f"\npurchases {purchases:,}   units sold {units:,}   revenue {revenue:,.2f} USD")
    for product in sales.top(3):
        console.print(f"  product {product.product_id}   {product.units:,} units   {product.revenue:,.2f} USD")
    if sales.freshness_s:
        console.print(f"payment to product-sales: {_times(percentiles(sales.freshness_s, 's'))}")
    waits = read_state(settings).get("payment_to_row")
    if waits:
        console.print(f"payment to PostgreSQL:    {_times(waits)}")
    console.print("\naudit", style="bold")
    return show_audit(settings, console, is_through=True)


def _times(waits: Mapping[str, float | None]) -> str:
    return "   ".join(f"{name} {waits[f'{name}_s']:.2f} s" for name in SHARES)


def show_audit(settings: Settings, console: Console, is_through: bool = False) -> bool:
    """Prints a line per promise, as soon as it is known. Out: are all kept? :param is_through: see `audit`."""
    findings: list[Finding] = []
    for finding in audit(settings, is_through):
        findings.append(finding)
        verdict = ("holds", "green") if finding.holds else ("BROKEN", "red")
        counts = "  ".join(f"{name} {_plain(name, count)}" for name, count in finding.counts.items())
        console.print(
            Text.assemble(f"{finding.promise} ", verdict, f"  {finding.sentence}\n   {counts}"), soft_wrap=True
        )
    return all(finding.holds for finding in findings)


def _plain(name: str, count: object) -> str:
    if name.startswith("digest_"):
        return f"{str(count)[:_DIGITS]}..."
    return f"{count:,}" if isinstance(count, int) else str(count)
