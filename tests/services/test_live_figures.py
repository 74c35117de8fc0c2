"""Every figure of the live page is what a query on gold says for the same moment; and a purchase is soon seen there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ingest.disorder import records
from ingest.generate import events_from
from ingest.producer import EventProducer
from ingest.shape import StoreShape
from lakehouse.errors import TableError
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CUSTOMER_VALUE, GOLD_FUNNEL, GOLD_ORDERS, GOLD_PRODUCTS, SILVER_EVENTS
from operate.lake import last_noted, query
from operate.stack import Stack
from tests.browser_pages import opened
from tests.builders import Fields, event, purchase
from tests.services.pages import address
from tests.services.runs import ask, running, wait_until_read
from tests.services.sinks import wait_for, wait_until_served
from tests.sessions_by_hand import carts_by_hand

START_AT = datetime(2019, 11, 10, tzinfo=UTC)
END_AT = START_AT + timedelta(hours=37, seconds=30)
"""The newest event, and so the store clock: in the afternoon of the second day."""

ABANDON_S = 120

SHOP = StoreShape(products=300, categories=20, brands=20)
RATE_PER_S = 0.15
SEEN_WITHIN_S = 90.0
"""Where another test runs beside this one; how soon it is on a quiet machine `bench` measures."""


# Two Sparks start, and what they make of 20,000 events is waited for.
@pytest.mark.long
def test_every_figure_is_that_of_a_query_on_gold_and_a_purchase_is_soon_seen(browser: Browser, tmp_path: Path) -> None:
    quick = {"round_s": 2.0, "sessions_s": 2.0, "carts_s": 1.0, "cart_abandon_s": ABANDON_S}
    with running(Settings(home=tmp_path / "home", topic_partitions=3, **quick)) as stack:
        settings = stack.settings
        send(settings, [*generated(), *of_old_customers(), *of_carts()])
        wait_until_read(stack)
        # Alone, so that it is in a batch of which each table has something to take in.
        send(settings, [purchase(event_time=text_of(END_AT), user_id=1)])
        wait_until_read(stack)
        wait_until_gold_has_all(stack)
        wanted = by_gold(settings)
        assert_says_something(wanted)
        with opened(browser, address(settings), viewport={"width": 1920, "height": 1080}) as found:
            page = found.page
            expect(page.locator("#mode")).to_have_text("Replay")
            page.get_by_text("As a table").click()
            end_s = time.monotonic() + 90
            while (shown := by_page(page)) != wanted and time.monotonic() < end_s:
                page.wait_for_timeout(500)
            assert shown == wanted
            _assert_the_dialog_is_right(page, settings)

            sent_s = time.monotonic()
            send(settings, [purchase(event_time=text_of(datetime.now(UTC)), price="12.34", user_id=2)])
            expect(page.locator("#hour-revenue")).to_have_text("$12.34", timeout=SEEN_WITHIN_S * 1000)
            print(f"seen {time.monotonic() - sent_s:.1f} s after it was sent")
            expect(page.locator("#mode")).to_have_text("Live")
            assert found.complaints == []


def send(settings: Settings, events: list[bytes | Fields]) -> None:
    values = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in events]
    producer = EventProducer(settings)
    producer.send_batch(settings.events_topic, [str(json.loads(each)["user_id"]).encode() for each in values], values)
    producer.flush()


def text_of(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def generated() -> Iterator[bytes]:
    """A day and a half at an even rate, until five minutes before the end."""
    end_ms = (END_AT - timedelta(minutes=5)).timestamp() * 1000
    for batch in events_from(SHOP, seed=1, start_at=START_AT, rate_per_s=RATE_PER_S):
        for record, at_ms in zip(records(batch), batch.rows["at_ms"], strict=True):
            if at_ms >= end_ms:
                return
            assert record.value is not None
            yield record.value


def of_old_customers() -> Iterator[Fields]:
    """One and three orders of two months and less ago, and of more; and what was given back today."""
    for number, days in enumerate((8, 35, 65, 100)):
        for orders in (1, 3):
            for order in range(orders):
                at = START_AT - timedelta(days=days, minutes=order)
                user_id = 900_000 + 10 * number + orders
                yield purchase(
                    event_time=text_of(at), user_id=user_id, price="70.00", user_session=f"{user_id} {order}"
                )
    for minutes in (10, 200):
        yield purchase(event_time=text_of(END_AT - timedelta(minutes=minutes)), user_id=900_400, price="-3.50")


def of_carts() -> Iterator[Fields]:
    """One that comes back; and one that is abandoned when the newest event has moved the clock."""
    for user_id, before in ((900_600, timedelta(hours=5)), (900_500, timedelta(minutes=4))):
        yield event(event_type="cart", event_time=text_of(END_AT - before), user_id=user_id)
    back = text_of(END_AT - timedelta(hours=2))
    yield purchase(event_time=back, user_id=900_600, user_session="another")


def wait_until_gold_has_all(stack: Stack) -> None:
    """Until each table that the page shows has taken in all of silver, and PostgreSQL all of that."""
    settings = stack.settings
    silver = last_noted(SILVER_EVENTS, settings).version
    folded = (GOLD_ORDERS, GOLD_PRODUCTS, GOLD_CUSTOMER_VALUE, GOLD_FUNNEL)
    events = query("SELECT * FROM silver.events", settings).to_arrow_table()
    carts = carts_by_hand(events, END_AT, abandon_s=ABANDON_S)
    units = ask("SELECT count(*) FROM silver.events WHERE event_type = 'purchase' AND price > 0", settings)
    back = carts.num_rows - carts["recovered_at"].null_count
    carts_wanted = [(carts.num_rows, sum(carts["cart_value"].to_pylist()), back)]

    def has_all() -> bool:
        stack.supervisor.watch()
        time.sleep(1)  # each look opens tables, and the rounds give way to us
        try:
            return (
                all(last_noted(table, settings).note.get("silver_version", -1) >= silver for table in folded)
                and ask("SELECT sum(units)::BIGINT FROM gold.product_sales", settings) == units
                and ask("SELECT count(*), sum(cart_value), count(recovered_at) FROM gold.abandoned_carts", settings)
                == carts_wanted
            )
        except TableError:  # its first round is still to come
            return False

    wait_for(has_all, "gold has not taken in all of silver", 900.0)
    wait_until_served(settings)


def by_gold(settings: Settings) -> dict[str, Any]:
    """What the page has to show, as it writes it, by plain queries on the Delta tables."""
    ((now,),) = ask(
        """SELECT greatest((SELECT max(last_purchase_at) FROM gold.product_sales),
                           (SELECT max(last_event_at) FROM gold.products))""",
        settings,
    )
    assert now == END_AT
    midnight = now.replace(hour=0, minute=0, second=0)
    begins = {
        "quarter": now - timedelta(minutes=15),
        "hour": now - timedelta(hours=1),
        "day": now - timedelta(days=1),
        "today": midnight - timedelta(microseconds=1),
    }
    sums = {
        name: ask(
            f"""SELECT coalesce(sum(units), 0)::BIGINT, coalesce(sum(revenue), 0), coalesce(sum(refund_amount), 0)
                FROM gold.product_sales WHERE window_start_at > '{at}'""",
            settings,
        )[0]
        for name, at in begins.items()
    }
    return {
        "clock": f"{now.day} {now:%b %Y, %H:%M}",
        "today-revenue": usd(sums["today"][1]),
        "today-units": f"{sums['today'][0]:,}",
        "today-refunds": usd(sums["today"][2]),
        "quarter-revenue": usd(sums["quarter"][1]),
        "hour-revenue": usd(sums["hour"][1]),
        "minutes": [
            (f"{at:%H:%M}", f"{units:,}", usd(revenue))
            for at, units, revenue in ask(
                f"""SELECT window_start_at, sum(units)::BIGINT, sum(revenue) FROM gold.product_sales
                    WHERE window_start_at > '{begins["hour"]}' GROUP BY 1 ORDER BY 1 DESC""",
                settings,
            )
        ],
        **{f"top of the {name}": _top(settings, begins[name]) for name in ("quarter", "hour", "day")},
        **_carts(settings, now, midnight),
        **_funnel(settings, now),
        **_customers(settings, now),
    }


def _top(settings: Settings, begin: datetime) -> list[tuple[str, ...]]:
    rows = ask(
        f"""WITH sold AS (SELECT product_id, sum(units)::BIGINT AS units, sum(revenue) AS revenue
                          FROM gold.product_sales WHERE window_start_at > '{begin}' GROUP BY 1)
            SELECT product_id, brand, sold.units, sold.revenue FROM sold LEFT JOIN gold.products USING (product_id)
            WHERE sold.units > 0 ORDER BY sold.revenue DESC, product_id LIMIT 10""",
        settings,
    )
    return [(str(product_id), brand or "–", f"{units:,}", usd(revenue)) for product_id, brand, units, revenue in rows]


def _carts(settings: Settings, now: datetime, midnight: datetime) -> dict[str, Any]:
    is_open = f"recovered_at IS NULL AND abandoned_at > '{now - timedelta(days=7)}'"
    ((count, value),) = ask(f"SELECT count(*), sum(cart_value) FROM gold.abandoned_carts WHERE {is_open}", settings)
    ((back, back_value),) = ask(
        f"""SELECT count(*), coalesce(sum(cart_value), 0) FROM gold.abandoned_carts
            WHERE recovered_at >= '{midnight}'""",
        settings,
    )
    newest = ask(
        f"""SELECT abandoned_at, user_id, coalesce(orders, 0), cart_value,
                   list_sum([item.quantity FOR item IN items])::BIGINT
            FROM gold.abandoned_carts LEFT JOIN gold.customer_value USING (user_id)
            WHERE {is_open} ORDER BY abandoned_at DESC, session_key LIMIT 8""",
        settings,
    )

    def ago(at: datetime) -> str:
        minutes = (now - at) // timedelta(minutes=1)
        if minutes < 1:
            return "just now"
        return f"{minutes} min ago" if minutes < 60 else f"{minutes // 60} h ago"

    def who(user_id: int, orders: int) -> str:
        return f"{user_id}, {orders} order{'s' * (orders > 1)} before" if orders else f"{user_id}, no order yet"

    return {
        "carts": f"{usd(value)} in {count:,} carts",
        "carts won back": f"{back:,} cart{'s' * (back != 1)}, {usd(back_value)}",
        "newest carts": [
            (ago(at), who(user_id, orders), str(items), usd(cart_value))
            for at, user_id, orders, cart_value, items in newest
        ],
    }


def _funnel(settings: Settings, now: datetime) -> dict[str, Any]:
    ((day, *steps),) = ask(
        f"""SELECT event_on, sessions, viewed, carted, bought FROM gold.funnel
            WHERE scope = 'day' AND event_on <= '{now.date()}' ORDER BY event_on DESC LIMIT 1""",
        settings,
    )
    return {"funnel of": f"sessions of {day}", "funnel": [(f"{step:,}", percent(step, steps[0])) for step in steps]}


def _customers(settings: Settings, now: datetime) -> dict[str, Any]:
    """Steps and segments as docs/serving.md and the page itself have them."""
    rows = ask(
        "SELECT orders, revenue, last_purchase_at FROM gold.customer_value WHERE orders > 0",
        settings,
    )
    bounds = [Decimal(0), *map(Decimal, (25, 50, 100, 200, 500)), Decimal("Infinity")]
    steps = []
    for low, high in pairwise(bounds):
        spent = [revenue for _, revenue, _ in rows if low <= revenue < high]
        steps.append((f"{len(spent):,}", usd(sum(spent)) if spent else ""))
    segments: dict[str, list[Decimal]] = {}
    for orders, revenue, last_at in rows:
        days = (now - last_at) / timedelta(days=1)
        recency = sum(days <= bound for bound in (7, 30, 60, 90)) + 1
        frequency = sum(orders >= bound for bound in (2, 3, 5, 10)) + 1
        segments.setdefault(_segment(recency, frequency), []).append(revenue)
    ordered = sorted(segments.items(), key=lambda each: (-sum(each[1]), each[0]))
    return {"customers": steps, "segments": " · ".join(f"{name} {len(spent):,}" for name, spent in ordered)}


def _segment(recency: int, frequency: int) -> str:
    if recency >= 4 and frequency >= 4:
        return "champion"
    if recency >= 3 and frequency >= 3:
        return "loyal"
    if recency >= 3:
        return "new" if recency >= 4 and frequency == 1 else "promising"
    if frequency >= 3:
        return "at risk"
    return "fading" if recency == 2 else "lost"


def assert_says_something(wanted: dict[str, Any]) -> None:
    """A page without figures would be right too easily."""
    assert "$0.00" not in (wanted["today-revenue"], wanted["today-refunds"], wanted["quarter-revenue"])
    assert len(wanted["minutes"]) > 5
    assert all(len(wanted[f"top of the {name}"]) == 10 for name in ("hour", "day"))
    assert wanted["top of the hour"] != wanted["top of the day"]
    assert len(wanted["newest carts"]) == 8 and not wanted["carts won back"].startswith("0")
    assert all(count != "0" for count, _ in [*wanted["funnel"], *wanted["customers"][:3]])
    assert len(wanted["segments"].split(" · ")) >= 5


def by_page(page: Page) -> dict[str, Any]:
    """What it shows, under the names of `by_gold`."""
    plain = ("clock", "today-revenue", "today-units", "today-refunds", "quarter-revenue", "hour-revenue")
    found: dict[str, Any] = {name: page.locator(f"#{name}").inner_text() for name in plain}
    found["minutes"] = rows(page, "#minutes-rows")
    for name in ("quarter", "hour", "day"):
        page.locator(f"input[value={name}] + span").click()
        found[f"top of the {name}"] = rows(page, "#top-rows")
    found["carts"] = f"{page.locator('#carts-value').inner_text()} in {page.locator('#carts-count').inner_text()}"
    found["carts won back"] = page.locator("#carts-recovered").inner_text()
    found["newest carts"] = rows(page, "#carts-rows")
    found["funnel of"] = page.locator("#funnel-day").inner_text()
    for name, bars in (("funnel", "#funnel-steps"), ("customers", "#value-steps")):
        counts, others = page.locator(f"{bars} b").all_inner_texts(), page.locator(f"{bars} i").all_inner_texts()
        found[name] = list(zip(counts, others, strict=True))
    found["segments"] = page.locator("#segments").inner_text()
    return found


def _assert_the_dialog_is_right(page: Page, settings: Settings) -> None:
    """Of the product that sells best."""
    product_id = int(page.locator("#top-rows button").first.inner_text())
    page.locator("#top-rows button").first.click()
    ((units, revenue, refunds),) = ask(
        f"""SELECT sum(units)::BIGINT, sum(revenue), sum(refund_amount)
            FROM gold.product_sales WHERE product_id = {product_id}""",
        settings,
    )
    ((brand, category, price),) = ask(
        f"SELECT brand, category_code, price FROM gold.products WHERE product_id = {product_id}", settings
    )
    facts = [brand or "no brand", *([category] if category else []), f"{usd(price)} in its newest event"]
    expect(page.locator("#product-facts")).to_have_text(" · ".join(facts))
    for name, text in (("units", f"{units:,}"), ("revenue", usd(revenue)), ("refunds", usd(refunds))):
        expect(page.locator(f"#product-{name}")).to_have_text(text)
    orders = ask(
        f"""SELECT ordered_at, user_id, len(lines), total FROM gold.orders
            WHERE list_contains([line.product_id FOR line IN lines], {product_id})
            ORDER BY ordered_at DESC, order_id LIMIT 8""",
        settings,
    )
    assert rows(page, "#product-orders") == [
        (f"{at.day} {at:%b %Y, %H:%M}", str(user_id), str(lines), usd(total)) for at, user_id, lines, total in orders
    ]
    page.keyboard.press("Escape")


def rows(page: Page, body: str) -> list[tuple[str, ...]]:
    """Of a table, the cells of each row; all of one moment."""
    found = page.locator(body).evaluate("body => [...body.rows].map(row => [...row.cells].map(cell => cell.innerText))")
    return [tuple(row) for row in found]


def usd(amount: Decimal | int) -> str:
    return f"-${-amount:,.2f}" if amount < 0 else f"${amount:,.2f}"


def percent(part: int, whole: int) -> str:
    """To one decimal; a tie goes up, as in JavaScript."""
    return f"{Decimal(100 * part / whole).quantize(Decimal('0.1'), ROUND_HALF_UP)} %"
