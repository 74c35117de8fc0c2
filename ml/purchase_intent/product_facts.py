"""What was known of products, categories and the catalogue on each day: how often carts are bought, and prices.

Facts hold from a day on, and are made of carts whose horizon was over before it began. So one lot of facts serves all
carts of a day, and scoring computes them once a day, not for each cart.
"""

from __future__ import annotations

from datetime import date, datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from ml.purchase_intent.events import CART, CartRules, bought_within, is_sale, told

_SUMS = ("carts", "bought", "priced", "log_price_millionths")
_MILLION = 1_000_000


def product_facts(events: DataFrame, rules: CartRules, known_until: datetime) -> DataFrame:
    """In: all of silver.events. Out: one row per scope (product, category, catalogue), its `id` (0: the catalogue) and
    day `known_on` from which on more is known; of all carts until then: `carts` put into one, `bought` among them;
    `priced` of them with a price above zero, and the sum of the logarithms of these prices, in millionths.

    Days after `known_until` are left out: their carts can still be bought.
    """
    wanted = told(events).where((F.col("rank") == CART) | is_sale()).withColumn("is_bought", bought_within(rules))
    over_at = F.timestamp_micros(F.col("at_us") + rules.horizon_us)
    price = F.when(F.col("price") > 0, F.col("price").cast("double"))
    carts = wanted.where(F.col("rank") == CART).select(
        "product_id",
        "category_id",
        F.date_add(F.to_date(over_at), 1).alias("known_on"),
        F.col("is_bought").cast("bigint").alias("bought"),
        # A sum of whole numbers is the same in any order.
        F.round(F.ln(price) * _MILLION).cast("bigint").alias("log_price"),
    )
    days = (
        carts.where(F.col("known_on") <= F.to_date(F.lit(known_until)))
        .groupBy("product_id", "category_id", "known_on")
        .agg(
            F.count(F.lit(1)).alias("carts"),
            F.sum("bought").alias("bought"),
            F.count("log_price").alias("priced"),
            F.coalesce(F.sum("log_price"), F.lit(0)).alias("log_price_millionths"),
        )
    )
    scopes = F.explode(
        F.array(
            _scope("product", F.col("product_id")),
            _scope("category", F.col("category_id")),
            _scope("catalogue", F.lit(0)),
        )
    )
    daily = days.select(scopes.alias("of"), "known_on", *_SUMS).groupBy("of.scope", "of.id", "known_on")
    until = Window.partitionBy("scope", "id").orderBy("known_on").rowsBetween(Window.unboundedPreceding, 0)
    sums = daily.agg(*(F.sum(name).alias(name) for name in _SUMS))
    return sums.select("scope", "id", "known_on", *(F.sum(name).over(until).alias(name) for name in _SUMS))


def facts_since(facts: DataFrame, day: date) -> DataFrame:
    """In: `product_facts`. Out: those that carts of a day and of later ones have to know."""
    newest = Window.partitionBy("scope", "id").orderBy(F.col("known_on").desc())
    is_before = F.col("known_on") <= F.lit(day)
    before = facts.where(is_before).withColumn("turn", F.row_number().over(newest)).where(F.col("turn") == 1)
    return before.drop("turn").unionByName(facts.where(~is_before))


def with_facts(carts: DataFrame, facts: DataFrame, rules: CartRules) -> DataFrame:
    """In: rows with `product_id`, `category_id`, `price`, `at_us`; `product_facts`. Out: the same rows, with
    `product_carts`, `product_rate`, `category_rate` and the price against the usual ones.

    A rate is (bought + m * base) / (carts + m), the catalogue's rate for base and `prior_carts` for m: an empirical
    Bayes estimate (Efron and Morris 1975) with a prior of fixed weight. Usual is the geometric mean of the prices.
    """
    for scope, id_ in (("product", "product_id"), ("category", "category_id"), ("catalogue", None)):
        carts = _as_known(carts, facts, scope, F.col(id_) if id_ else F.lit(0))
    log_price = F.when(F.col("price") > 0, F.ln(F.col("price").cast("double")))

    def rate(scope: str) -> Column:
        base = F.try_divide("catalogue.bought", "catalogue.carts")
        bought, count = (F.coalesce(f"{scope}.{name}", F.lit(0)) for name in ("bought", "carts"))
        return (bought + base * rules.prior_carts) / (count + rules.prior_carts)

    def against(scope: str) -> Column:
        return log_price - F.try_divide(F.col(f"{scope}.log_price_millionths") / _MILLION, F.col(f"{scope}.priced"))

    return carts.withColumns(
        {
            "product_carts": F.coalesce("product.carts", F.lit(0)),
            "product_rate": rate("product"),
            "category_rate": rate("category"),
            "log_price_to_product": against("product"),
            "log_price_to_category": against("category"),
            "log_price_to_catalogue": against("catalogue"),
        }
    ).drop("product", "category", "catalogue")


def _scope(name: str, id_: Column) -> Column:
    return F.struct(F.lit(name).alias("scope"), id_.cast("bigint").alias("id"))


def _as_known(carts: DataFrame, facts: DataFrame, scope: str, id_: Column) -> DataFrame:
    """Adds the newest facts of the day, as a struct named like the scope. Null: nothing was known."""
    known = facts.where(F.col("scope") == scope).select(
        F.col("id").alias("_id"),
        F.col("known_on").alias("_on"),
        F.lit(0).alias("_turn"),
        F.struct(*_SUMS).alias("_facts"),
    )
    day = F.to_date(F.timestamp_micros("at_us"))
    asking = carts.select("*", id_.cast("bigint").alias("_id"), day.alias("_on"), F.lit(1).alias("_turn"))
    upto = Window.partitionBy("_id").orderBy("_on", "_turn").rowsBetween(Window.unboundedPreceding, 0)
    newest = F.last("_facts", ignorenulls=True).over(upto)
    both = asking.unionByName(known, allowMissingColumns=True).withColumn(scope, newest)
    return both.where(F.col("_turn") == 1).drop("_id", "_on", "_turn", "_facts")
