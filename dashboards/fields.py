"""What Tableau has to know of a view and its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["integer", "decimal", "double", "string", "date", "datetime"]
"""Of a column: decimal is exact, double is not. Tableau computes with doubles whatever a column is stored as."""

_SHARES = ("conversion", "conversion_overall")
_TITLES = {"user_id": "Customer", "product_id": "Product", "session_key": "Session", "user_session": "Store session"}
_AVERAGED = ("price", "average_order", *_SHARES)
_UNITS = ("days", "minutes")


@dataclass(frozen=True)
class Field:
    """A column of a source.

    :param meaning: one line, shown by Tableau beside the field.
    :param formula: in Tableau's language; empty for a column of the view.
    :param is_step: the lower end of a step of dollars: a heading, not added up.
    """

    name: str
    kind: Kind
    meaning: str
    formula: str = ""
    is_step: bool = False

    @property
    def datatype(self) -> str:
        return {"decimal": "real", "double": "real"}.get(self.kind, self.kind)

    @property
    def is_measure(self) -> bool:
        is_number = self.kind in ("integer", "decimal", "double")
        return is_number and not self.is_step and not self.name.endswith(("_id", "_score"))

    @property
    def is_amount(self) -> bool:
        """US dollars and cents."""
        return self.kind == "decimal" and not self.name.endswith(_UNITS)

    @property
    def caption(self) -> str:
        """`cart_value` is `Cart value (USD)`, `recency_days` is `Recency (days)`, `day_on` is `Day`."""
        if self.name in _TITLES:
            return _TITLES[self.name]
        words = self.name.removesuffix("_at").removesuffix("_on").split("_")
        unit = words.pop() if words[-1] in _UNITS else "USD" if self.is_amount or self.is_step else ""
        text = " ".join(words).capitalize()
        return f"{text} ({unit})" if unit else text

    @property
    def aggregation(self) -> str:
        """What Tableau does by itself when the field is put on a shelf."""
        if self.kind in ("date", "datetime"):
            return "Year"
        if not self.is_measure:
            return "Count"
        return "Avg" if self.name in _AVERAGED or self.name.endswith(_UNITS) else "Sum"

    @property
    def format(self) -> str:
        if self.is_amount:
            return 'c"$"#,##0.00;-"$"#,##0.00'
        if self.name in _SHARES:
            return "p0.0%"
        if self.kind == "integer":
            return "n#,##0;-#,##0" if self.is_measure else "n0;-0"
        return ""


@dataclass(frozen=True)
class Source:
    """A view.

    :param fields: its columns, in its order.
    :param left_out: its columns that are no field: JSON, which Tableau cannot take apart.
    :param computed: fields that Tableau computes from these.
    """

    view: str
    grain: str
    fields: tuple[Field, ...]
    left_out: tuple[str, ...] = ()
    computed: tuple[Field, ...] = ()

    @property
    def caption(self) -> str:
        return self.view.replace("_", " ").capitalize()

    def field(self, name: str) -> Field:
        """:raises KeyError: the source has no such field."""
        return {each.name: each for each in self.fields + self.computed}[name]
