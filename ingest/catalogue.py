"""The goods: products with category, brand, price and popularity, and how each is written in a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.shape import StoreShape

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

SLOTS = 1 << 20
# Price of a product as a quantile function, in cents, by its share of views. Log-linear in between.
PRICE_SHARES = (0.0, 0.05, 0.25, 0.50, 0.75, 0.90, 0.97, 0.99, 0.9995, 1.0)
PRICE_CENTS = (5.0, 125.0, 264.0, 505.0, 870.0, 2_200.0, 6_000.0, 13_800.0, 27_000.0, 32_778.0)
CODES = (
    "apparel.glove", "furniture.bathroom.bath", "stationery.cartrige", "accessories.bag", "furniture.living_room.chair",
    "appliances.personal.hair_cutter", "accessories.cosmetic_bag", "appliances.environment.vacuum", "sport.diving",
)  # fmt: skip
SYLLABLES = (
    "lu",
    "ne",
    "ra",
    "vio",
    "ko",
    "mi",
    "sa",
    "der",
    "bel",
    "ti",
    "no",
    "gra",
    "fe",
    "lin",
    "zo",
    "pa",
    "cy",
    "ma",
)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """One entry per product in each array; a product is known by its index.

    :param viewed: product indices, each as often as its share of views; a random slot is a random product.
    :param carted: the same for carts and purchases, which go to cheaper products.
    :param by_price: the popular half of the products, cheapest first, to fill the rest of an order.
    """

    product_id: Ints
    category_id: Ints
    category_code: list[str]
    brand: list[str]
    price_cents: Ints
    viewed: Ints
    carted: Ints
    by_price: Ints

    def draw(self, table: Ints, rng: np.random.Generator, count: int) -> Ints:
        """Random products by popularity."""
        return table[rng.integers(0, SLOTS, count)]

    def priced_near(self, cents: Ints, rng: np.random.Generator) -> Ints:
        """For each amount a product whose price is the nearest, or a near neighbour of it."""
        prices = self.price_cents[self.by_price]
        low = np.searchsorted(prices, cents, side="left")
        high = np.searchsorted(prices, cents, side="right")
        # Any of the products at exactly that price; where there is none, the next cheaper one.
        at = np.where(high > low, low + (rng.random(len(cents)) * (high - low)).astype(np.int64), low - 1)
        return self.by_price[np.clip(at, 0, len(prices) - 1)]


def catalogue(shape: StoreShape) -> Catalogue:
    """The store's goods; the same shape has the same goods whatever the stream's seed."""
    rng = np.random.default_rng(shape.catalogue_seed)
    count = shape.products
    popularity = 1.0 / (np.arange(count) + 1.0 + shape.zipf_offset)
    popularity = rng.permutation(popularity / popularity.sum())
    price = _prices(rng, popularity, shape.free_share)
    tilted = popularity * np.where(price > 0, np.maximum(price, 200.0), 500.0) ** -shape.cheap_tilt
    tilted /= tilted.sum()
    category = rng.choice(shape.categories, count, p=_falling(shape.categories))
    category_share = np.bincount(category, popularity + tilted, shape.categories) / 2
    codes = [""] * shape.categories
    for place, index in enumerate(_adding_up_to(rng, category_share, shape.category_code_share)):
        codes[index] = CODES[place % len(CODES)]
    brands = _brand_names(rng, shape.brands)
    brand = [brands[i] for i in rng.choice(shape.brands, count, p=_falling(shape.brands))]
    for index in _adding_up_to(rng, (popularity + tilted) / 2, shape.brandless_share):
        brand[index] = ""
    popular = np.flatnonzero(popularity >= np.median(popularity))
    popular = popular[price[popular] > 0]
    category_ids = rng.integers(1_487_580_004_807_082_827, 2_195_085_255_034_011_676, shape.categories)
    return Catalogue(
        product_id=np.sort(rng.choice(np.arange(3_752, 5_932_595), count, replace=False)),
        category_id=category_ids[category],
        category_code=[codes[i] for i in category],
        brand=brand,
        price_cents=price,
        viewed=_slots(popularity),
        carted=_slots(tilted),
        by_price=popular[np.argsort(price[popular], kind="stable")],
    )


def _prices(rng: np.random.Generator, popularity: Floats, free_share: float) -> Ints:
    """Cents, so that the quantiles hold by share of views and not by product."""
    order = rng.permutation(len(popularity))
    share = np.empty(len(order))
    share[order] = np.cumsum(popularity[order]) - popularity[order] / 2
    cents = np.exp(np.interp(share, PRICE_SHARES, np.log(PRICE_CENTS))).round().astype(np.int64)
    cents[order[-1]] = int(PRICE_CENTS[-1])
    cents[_adding_up_to(rng, popularity, free_share)] = 0
    return cents


def _adding_up_to(rng: np.random.Generator, weights: Floats, share: float) -> Ints:
    """Random indices whose weights add up to the share, so that no one heavy index decides it."""
    order = rng.permutation(np.flatnonzero(weights < share / 2))
    return order[np.cumsum(weights[order]) <= share]


def _falling(count: int) -> Floats:
    weights = 1.0 / (np.arange(count) + 4.0)
    return weights / weights.sum()


def _slots(weights: Floats) -> Ints:
    edges = np.cumsum(weights)
    return np.searchsorted(edges, (np.arange(SLOTS) + 0.5) / SLOTS * edges[-1])


def _brand_names(rng: np.random.Generator, count: int) -> list[str]:
    """Invented names, some with a dot, a hyphen, a blank or an apostrophe as real ones have."""
    names: dict[str, None] = {}
    while len(names) < count:
        parts = [SYLLABLES[i] for i in rng.integers(0, len(SYLLABLES), int(rng.integers(2, 5)))]
        joint = (".", "-", " ", "'", *[""] * 16)[int(rng.integers(0, 20))]
        names[parts[0] + joint + "".join(parts[1:])] = None
    return list(names)
