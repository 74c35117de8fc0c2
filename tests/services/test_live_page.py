"""The live page in a real browser, fed from Kafka through the sink and PostgreSQL: what a reader of it sees."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, expect
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from lakehouse.settings import Settings
from lakehouse.tables import (
    GOLD_ABANDONED_CARTS,
    GOLD_CUSTOMER_VALUE,
    GOLD_FUNNEL,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    GOLD_PRODUCTS,
)
from lakehouse.topics import GoldTopics
from operate.live import page_state
from operate.services.kafka import KafkaBroker
from operate.services.postgres import PostgresServer
from tests.browser_pages import faults, opened
from tests.builders import HOSTILE
from tests.gold_rows import AT, cart, customer, funnel, order, product, sale
from tests.postgres_server import running_server
from tests.services.pages import address, page_server, shop_in
from tests.services.sinks import serving, wait_until_served

NOON = AT.replace(hour=12)
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1920, "height": 1080}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
SCRIPT = "<img src=x onerror=\"alert('category')\">"

expect.set_options(timeout=60_000)


@pytest.fixture
def settings(kafka_broker: KafkaBroker, postgres: PostgresServer, tmp_path: Path) -> Settings:
    return shop_in(kafka_broker, postgres, tmp_path)


def sell(topics: GoldTopics) -> None:
    """A shop of 2019 with something in every part of the page. Its clock says 12:00."""
    sales = [sale(number, NOON - timedelta(minutes=number), f"{number}.50") for number in range(1, 6)]
    sales += [sale(9, AT, "100.00"), sale(1, NOON - timedelta(days=1), "7.00")]
    topics.publish(
        GOLD_PRODUCTS, [product(1, "runail", last_event_at=NOON), product(2, None, category_code="stationery")]
    )
    topics.publish(GOLD_PRODUCT_SALES, sales)
    topics.publish(GOLD_CUSTOMER_VALUE, [customer(1, 30), customer(2, 600, orders=12), customer(3, 1)])
    topics.publish(GOLD_FUNNEL, [funnel(AT, 1200, 900, 300, 75)])
    recovered = cart("r", NOON - timedelta(hours=2), "9.00", recovered_at=NOON)
    topics.publish(GOLD_ABANDONED_CARTS, [cart("a", NOON), cart("b", NOON - timedelta(hours=3), "20.00"), recovered])
    topics.publish(GOLD_ORDERS, [order("o", NOON, 1)])


def texts(page: Page, selector: str) -> list[str]:
    return [" ".join(each.split()) for each in page.locator(selector).all_inner_texts()]


def test_an_empty_store_says_so_and_a_full_one_keeps_nobody_out(browser: Browser, settings: Settings) -> None:
    """No reader is kept out by light or dark, a small screen, a dialog, a warning: axe-core finds nothing serious."""
    with serving(settings), page_server(settings):
        wait_until_served(settings)
        with opened(browser, address(settings)) as empty:
            expect(empty.page.locator("#mode")).to_have_text("No event yet")
            for words in ("No sale in the last hour.", "No open cart.", "No session yet.", "No customer yet."):
                expect(empty.page.get_by_text(words, exact=True)).to_be_visible()
            assert empty.page.locator("#today-revenue").inner_text() == "–"
            assert faults(empty.page) == []
            sell(GoldTopics(settings))
            expect(empty.page.locator("#today-revenue")).to_have_text("$117.50")
            assert empty.complaints == []
        for name, look in LOOKS.items():
            with opened(browser, address(settings), **look) as found:
                page = found.page
                expect(page.locator("#top-rows button").first).to_be_visible()
                expect(page.locator("#carts-rows tr")).to_have_count(2)
                page.get_by_text("As a table").click()
                assert faults(page) == [], name
                page.locator("#top-rows button", has_text="1").click()
                expect(page.locator("#product-orders tr")).to_have_count(1)
                assert faults(page) == [], f"{name}, with the dialog"
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                    "it has to be scrolled sideways"
                )
                assert found.complaints == []


@pytest.mark.parametrize("shared", [True, False], ids=["shared stream", "browser without shared workers"])
def test_many_tabs_of_one_browser_are_told_of_a_sale(browser: Browser, settings: Settings, shared: bool) -> None:
    """Over HTTP/1.1 a browser opens six connections to a host: the eighth tab waited for ever."""
    topics, context = GoldTopics(settings), browser.new_context()
    if not shared:
        context.add_init_script("delete window.SharedWorker")
    with serving(settings), page_server(settings):
        try:
            tabs = [context.new_page() for _ in range(9 if shared else 2)]
            for tab in tabs:
                tab.goto(address(settings))
                expect(tab.locator("#mode")).to_have_text("No event yet")
            tabs.pop(0).close()
            sell(topics)
            for tab in tabs:
                expect(tab.locator("#today-revenue")).to_have_text("$117.50")
            state = page_state(settings)
            assert state["browsers"] == (1 if shared else len(tabs))
            tabs[-1].reload()
            expect(tabs[-1].locator("#today-revenue")).to_have_text("$117.50")
        finally:
            context.close()


def test_data_that_looks_like_a_program_is_text(browser: Browser, settings: Settings) -> None:
    topics = GoldTopics(settings)
    with serving(settings), page_server(settings):
        topics.publish(
            GOLD_PRODUCTS,
            [product(at, brand, category_code=SCRIPT, last_event_at=NOON) for at, brand in enumerate(HOSTILE)],
        )
        topics.publish(GOLD_PRODUCT_SALES, [sale(at, NOON, f"{9 - at}.00") for at in range(len(HOSTILE))])
        topics.publish(GOLD_ABANDONED_CARTS, [cart(SCRIPT, NOON, user_session=SCRIPT)])
        with opened(browser, address(settings)) as found:
            page = found.page
            shown = [brand.replace("\0", "\ufffd") for brand in HOSTILE]
            expect(page.locator("#top-rows td:nth-child(2)")).to_have_text(shown)
            for number, brand in enumerate(shown):
                page.locator("#top-rows button").nth(number).click()
                expect(page.locator("#product-facts")).to_have_text(f"{brand} · {SCRIPT} · $2.62 in its newest event")
                page.locator("#product-close").click()
            assert page.locator("main img, main script, dialog img, dialog script").count() == 0
            assert found.complaints == []


def test_the_browser_is_told_to_refuse_what_the_page_has_no_need_of(browser: Browser, settings: Settings) -> None:
    """Should the page's own program ever take data for markup: the browser does not."""
    with page_server(settings), opened(browser, address(settings)) as found:
        for attack in (
            "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
            "document.body.insertAdjacentHTML('beforeend', '<b>bold</b>')",
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'alert(1)'}))",
            "document.body.append(Object.assign(document.createElement('script'), {src: '//evil.example/'}))",
            "document.body.setAttribute('onclick', 'alert(1)')",
            "setTimeout('alert(1)')",
        ):
            with pytest.raises(Error, match="Trusted"):
                found.page.evaluate(attack)
        found.page.evaluate("fetch('https://evil.example/').catch(() => 0)")
        found.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://evil.example/'}))")
        refused = "\n".join(found.complaints)
        assert "connect-src 'self'" in refused and "img-src 'self'" in refused
        assert "dialog:" not in refused


def test_a_late_sale_a_corrected_and_a_withdrawn_one_change_the_figures(browser: Browser, settings: Settings) -> None:
    topics = GoldTopics(settings)
    with serving(settings), page_server(settings):
        topics.publish(GOLD_PRODUCTS, [product(1, "runail", last_event_at=NOON), product(2, "irisk")])
        topics.publish(GOLD_PRODUCT_SALES, [sale(1, NOON, "5.00"), sale(2, NOON - timedelta(minutes=30), "3.00")])
        with opened(browser, address(settings)) as found:
            page = found.page
            sums = [
                page.locator(f"#{name}") for name in ("today-revenue", "quarter-revenue", "hour-revenue", "today-units")
            ]

            def expect_sums(*wanted: str) -> None:
                for figure, text in zip(sums, wanted, strict=True):
                    expect(figure).to_have_text(text)

            expect_sums("$8.00", "$5.00", "$8.00", "2")
            page.get_by_text("As a table").click()
            topics.publish(GOLD_PRODUCT_SALES, [sale(2, NOON - timedelta(minutes=40), "0.50")])  # late
            expect_sums("$8.50", "$5.00", "$8.50", "3")
            expect(page.locator("#minutes-rows tr")).to_have_text(["12:001$5.00", "11:301$3.00", "11:201$0.50"])
            corrected = sale(1, NOON, "1000.00", units=7, refund_units=1, refund_amount=Decimal("2.50"), revision=2)
            topics.publish(GOLD_PRODUCT_SALES, [corrected, sale(1, AT, "0.25")])
            expect_sums("$1,003.75", "$1,000.00", "$1,003.50", "10")
            expect(page.locator("#today-refunds")).to_have_text("$2.50")
            expect(page.locator("#top-rows tr")).to_have_text(["1runail7$1,000.00", "2irisk2$3.50"])
            topics.withdraw(GOLD_PRODUCT_SALES, [(NOON, 1)], 3)
            expect_sums("$3.75", "$0.00", "$3.50", "3")
            expect(page.locator("#today-refunds")).to_have_text("$0.00")
            expect(page.locator("#top-rows tr")).to_have_text(["2irisk2$3.50"])
            assert found.complaints == []


def test_files_of_another_time_are_a_replay_and_a_sale_of_now_is_live(browser: Browser, settings: Settings) -> None:
    topics = GoldTopics(settings)
    with serving(settings), page_server(settings):
        sell(topics)
        with opened(browser, address(settings)) as found:
            page = found.page
            expect(page.locator("#mode")).to_have_text("Replay")
            expect(page.locator("#clock")).to_have_text("1 Oct 2019, 12:00")
            expect(page.locator("#carts-rows td:first-child")).to_have_text(["just now", "3 h ago"])
            expect(page.locator("#carts-recovered")).to_have_text("1 cart, $9.00")
            expect(page.locator("#fresh-words")).to_have_text("No payment in the last 5 minutes")
            now = datetime.now(UTC)
            paid = sale(4, now, "12.34", updated_at=now)
            paid_at_us = {(paid["window_start_at"], 4): round(now.timestamp() * 1e6)}
            topics.publish(GOLD_PRODUCT_SALES, [paid], paid_at_us)
            expect(page.locator("#mode")).to_have_text("Live")
            # Not today's: it may be a moment before midnight.
            expect(page.locator("#hour-revenue")).to_have_text("$12.34")
            expect(page.locator("#fresh-words")).to_have_text("95 % of payments are here within")
            assert re.fullmatch(r"\d+\.\d s", page.locator("#fresh-value").inner_text())
            assert abs(time.time() - int(page.locator("body").get_attribute("data-stored-at-ms") or 0) / 1000) < 120
            assert found.complaints == []


def test_all_can_be_done_with_the_keyboard(browser: Browser, settings: Settings) -> None:
    topics = GoldTopics(settings)
    with serving(settings), page_server(settings):
        sell(topics)
        with opened(browser, address(settings)) as found:
            page = found.page
            focus = page.locator(":focus")
            expect(page.locator("#top-rows tr")).to_have_count(5)

            def tab_to(selector: str) -> None:
                for _ in range(20):
                    page.keyboard.press("Tab")
                    if focus.count() and focus.evaluate("(each, wanted) => each.matches(wanted)", selector):
                        return
                raise AssertionError(f"Tab does not lead to {selector}")

            tab_to(".skip")
            tab_to("#theme")
            page.keyboard.press("Enter")
            expect(page.locator("html")).to_have_attribute("data-theme", "light")
            tab_to("input[name=span]")
            page.keyboard.press("ArrowRight")
            expect(page.locator("input[value=day]")).to_be_checked()
            expect(page.locator("#top-rows tr")).to_have_count(6)
            page.keyboard.press("ArrowLeft")
            tab_to("#top-rows button[data-product='5']")
            page.keyboard.press("Enter")
            expect(page.locator("#product")).to_be_visible()
            expect(page.locator("#h-product")).to_have_text("Product 5")
            # The list is drawn anew meanwhile: the button that has opened the dialog is another one now.
            topics.publish(GOLD_PRODUCT_SALES, [sale(2, NOON, "50.00")])
            expect(page.locator("#hour-revenue")).to_have_text("$67.50")
            page.keyboard.press("Escape")
            expect(page.locator("#product")).to_be_hidden()
            expect(page.locator("#top-rows button[data-product='5']")).to_be_focused()
            topics.publish(GOLD_PRODUCT_SALES, [sale(3, NOON, "60.00")])
            expect(page.locator("#hour-revenue")).to_have_text("$127.50")
            expect(page.locator("#top-rows button[data-product='5']")).to_be_focused()
            assert found.complaints == []


def test_while_postgres_is_away_the_page_says_so_and_then_goes_on(
    browser: Browser, settings: Settings, tmp_path: Path
) -> None:
    topics = GoldTopics(settings)
    home = tmp_path / "server"
    with running_server(home) as (server, process):
        settings = settings.model_copy(
            update={"postgres_dsn": SecretStr(server.dsn), "live_dsn": SecretStr(make_conninfo(server.bi_dsn))}
        )
        with serving(settings), page_server(settings), opened(browser, address(settings)) as found:
            page, banner = found.page, found.page.locator("#banner")
            sell(topics)
            expect(page.locator("#today-revenue")).to_have_text("$117.50")
            expect(banner).to_be_hidden()
            process.kill()
            process.wait()
            expect(banner).to_have_text(
                re.compile(r"PostgreSQL has not answered since \d\d:\d\d:\d\d\. .*nothing is lost")
            )
            assert page.locator("#today-revenue").inner_text() == "$117.50"
            assert faults(page) == []
            page.locator("#top-rows button").first.click()
            expect(page.locator("#product-error")).to_have_text("This cannot be shown now: the store does not answer.")
            page.keyboard.press("Escape")
            topics.publish(GOLD_PRODUCT_SALES, [sale(1, NOON, "2.50")])
            with running_server(home):
                expect(page.locator("#today-revenue")).to_have_text("$120.00")
                expect(banner).to_be_hidden()
                wait_until_served(settings)


def test_while_the_server_is_away_the_page_says_so_and_then_goes_on(browser: Browser, settings: Settings) -> None:
    topics = GoldTopics(settings)
    with serving(settings), page_server(settings) as process:
        sell(topics)
        with opened(browser, address(settings)) as found:
            page, banner = found.page, found.page.locator("#banner")
            expect(page.locator("#today-revenue")).to_have_text("$117.50")
            process.kill()
            process.wait()
            expect(banner).to_have_text(re.compile(r"No connection to the server since \d\d:\d\d:\d\d\."))
            assert page.locator("#today-revenue").inner_text() == "$117.50"
            topics.publish(GOLD_PRODUCT_SALES, [sale(1, NOON, "2.50")])
            with page_server(settings):
                expect(page.locator("#today-revenue")).to_have_text("$120.00")
                expect(banner).to_be_hidden()


def test_when_the_sink_has_stopped_the_page_says_that_the_figures_may_be_old(
    browser: Browser, settings: Settings
) -> None:
    with page_server(settings), opened(browser, address(settings)) as found:
        with serving(settings):
            sell(GoldTopics(settings))
            expect(found.page.locator("#today-revenue")).to_have_text("$117.50")
        expect(found.page.locator("#banner")).to_have_text("The figures may be old: the sink is stopped.")
