"""What the demo shows while it runs: a screen that refreshes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from lakehouse.percentiles import percentiles
from operate.sales_view import SalesView

_LINE_EVERY_S = 10.0


class Screen:
    """:param title: what is running."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._began_s = self._line_at_s = time.monotonic()

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def show(self, pulse: dict[str, Any], sales: SalesView, lag: int | None, state: str) -> None:
        if self._live is not None:
            self._live.update(self._page(pulse, sales, lag, state))
        elif time.monotonic() - self._line_at_s >= _LINE_EVERY_S:
            self._line_at_s = time.monotonic()
            self.say(
                f"{self._elapsed()}  {state}  in {pulse.get('records', 0):,}  events {pulse.get('events', 0):,}"
                f"  duplicates {pulse.get('duplicates', 0):,}  quarantine {pulse.get('quarantined', 0):,}"
                f"  purchases {pulse.get('purchases', 0):,}  lag {_count(lag)}  fresh {_fresh(sales)}"
            )

    def _page(self, pulse: dict[str, Any], sales: SalesView, lag: int | None, state: str) -> Group:
        layers = Grid(title="rows since the start", title_justify="left", box=None, pad_edge=False)
        for name in ("bronze.events", "silver.events", "silver.duplicates", "silver.quarantine"):
            layers.add_column(name, justify="right")
        layers.add_row(
            *(f"{pulse.get(name, 0):,}" for name in ("records", "events", "duplicates", "quarantined")), style="bold"
        )
        top = Grid(title="top products", title_justify="left", box=None, pad_edge=False)
        for name in ("product", "units", "revenue"):
            top.add_column(name, justify="right")
        for product in sales.top(8):
            top.add_row(str(product.product_id), f"{product.units:,}", f"{product.revenue:,.2f}")
        facts = Text.assemble(
            (f"{self._title}  ", "bold"),
            f"{self._elapsed()}  {state}\n\n",
            f"purchases {pulse.get('purchases', 0):,}   sales published {pulse.get('sales_published', 0):,}"
            f"   lag {_count(lag)} records   last batch {pulse.get('batch_s', 0):.1f} s\n",
            ("payment to product-sales  ", "bold"),
            (_fresh(sales), "bold green"),
            "\n",
        )
        return Group(facts, layers, Text(), top)

    def _elapsed(self) -> str:
        seconds = int(time.monotonic() - self._began_s)
        return f"{seconds // 60}:{seconds % 60:02d}"


def _fresh(sales: SalesView) -> str:
    if not sales.freshness_s:
        return "no sale yet"
    waits = percentiles(sales.freshness_s, "s")
    return " ".join(f"{name} {waits[f'{name}_s']:.1f} s" for name in ("p50", "p95", "p99"))


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
