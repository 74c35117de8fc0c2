"""Where one batch ends and the next begins, and in which order records come, leaves no trace in silver and gold."""

from __future__ import annotations

import random

import pytest

from lakehouse.tables import BRONZE_EVENTS, GOLD_PRODUCT_SALES, SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE
from tests.builders import Record, event, purchase, records
from tests.flow.steps import Lake

SALES = [
    purchase(event_time=f"2019-10-0{n % 3 + 1} 12:0{n % 4}:30 UTC", product_id=n % 2, user_id=n % 5, price=f"{n}.10")
    for n in range(24)
]
REFUNDS = [sale | {"price": "-0.50"} for sale in SALES[:3]]
OTHERS = [event(user_id=n, coupon="A") for n in range(6)] + [purchase(user_id=n, price="0") for n in range(2)]
REFUSED = [None, b"{", event(price="free"), event(event_time="1999-01-01 00:00:00 UTC")]
COPIES = [SALES[0], *SALES[:12:2], OTHERS[0], OTHERS[7], REFUNDS[0]]
RECORDS = records([*SALES, *REFUNDS, *OTHERS, *REFUSED, *COPIES])


def results(lake: Lake) -> dict[str, list[tuple]]:
    tables = (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE, GOLD_PRODUCT_SALES)
    return {table.name: lake.stable_rows(table) for table in tables}


def in_batches(shuffled: list[Record], count: int) -> list[list[Record]]:
    return [shuffled[number::count] for number in range(count)]


@pytest.fixture(scope="module")
def of_one_batch() -> dict[str, list[tuple]]:
    """What the first way gave, for the others to be compared with."""
    return {}


@pytest.mark.usefixtures("file_by_file")
@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_batches_in_any_order_give_the_same_rows(lake: Lake, of_one_batch: dict, count: int) -> None:
    shuffled = random.Random(count).sample(RECORDS, len(RECORDS)) if count > 1 else RECORDS
    for batch in in_batches(shuffled, count):
        lake.land(batch)
    lake.refine_by_stream()
    lake.aggregate_by_stream()
    assert lake.version(BRONZE_EVENTS) == count
    lake.assert_conserved()
    lake.assert_published()
    found = results(lake)
    of_one_batch = of_one_batch or of_one_batch.setdefault("rows", found) or found
    assert {name: len(rows) for name, rows in found.items()} == {
        "silver.events": len(SALES) + len(REFUNDS) + len(OTHERS),
        "silver.duplicates": len(COPIES),
        "silver.quarantine": len(REFUSED),
        "gold.product_sales": 12,
    }
    assert found == of_one_batch.get("rows", found)
