"""How many products, brands and days there are, and when `lakehouse status` warns of it."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pydantic import ValidationError

from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCTS, SILVER_EVENTS
from operate.cli import main
from operate.sizes import sizes, too_many


@pytest.fixture
def lake(settings: Settings) -> Settings:
    """Five products of two brands and none, events of three days."""
    products = pa.table({"product_id": [1, 2, 3, 4, 5], "brand": ["a", "b", "a", None, "b"]})
    write_deltalake(GOLD_PRODUCTS.path(settings), products)
    events = pa.table({"event_id": list("abcd"), "event_on": ["2019-10-01", "2019-10-02", "2019-10-02", "2015-01-01"]})
    write_deltalake(SILVER_EVENTS.path(settings), events, partition_by=["event_on"])
    return settings


def test_each_is_counted_once(lake: Settings) -> None:
    assert sizes(lake) == {"products": 5, "brands": 2, "event_days": 3}
    assert sizes(lake.model_copy(update={"lake": str(lake.home / "nowhere")})) == {}


@pytest.mark.parametrize(
    ("limits", "warned"),
    [
        ("products 5, brands 2, event_days 3", []),
        ("products 4, brands 2, event_days 3", ["5 products in"]),
        ("products 5, brands 1, event_days 3", ["2 brands in"]),
        ("products 5, brands 2, event_days 2", ["3 days of"]),
        ("event_days 0", ["3 days of"]),
        ("", []),
    ],
)
def test_more_than_expected_is_said(lake: Settings, limits: str, warned: list[str]) -> None:
    told = too_many(sizes(lake), lake.model_copy(update={"most_expected": limits}))
    assert [" ".join(line.split()[:3]) for line in told] == warned
    assert all("LAKEHOUSE_MOST_EXPECTED" in line for line in told)


def test_status_warns(lake: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--home", str(lake.home)]) == 0
    assert "WARNING" not in capsys.readouterr().out
    monkeypatch.setenv("LAKEHOUSE_MOST_EXPECTED", "products 4")
    assert main(["status", "--home", str(lake.home)]) == 0
    assert "WARNING: 5 products in gold.products" in capsys.readouterr().out
    assert main(["status", "--json", "--home", str(lake.home)]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"] == {"event_days": 3, "products": 5, "brands": 2}


@pytest.mark.parametrize("wrong", ["products", "customers 5", "products -1", "products 1.5", "products 5 brands 2"])
def test_a_limit_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="is no limit"):
        Settings(most_expected=wrong)
