"""What is in a table, as one number: equal for equal rows, in whatever order, commits and files they were written."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)

from lakehouse.schemas import stable_columns
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_QUARANTINE, Table
from operate.lake import open_table, query, rows_of

# What a replay has taken out of quarantine is history, and not what a table says now.
_COUNTED = {SILVER_QUARANTINE.name: "replayed_at IS NULL"}
_HALF = 2**64


@dataclass(frozen=True)
class Content:
    """:param digest: 32 hex digits. It finds every difference that comes by chance, not one made to escape it."""

    rows: int
    digest: str


def content_hash(table: Table, settings: Settings, as_of: int | None = None) -> Content:
    """The rows of a table, now or as of a version, in the columns in which a replay must equal the live run.

    The digest is the sum of the MD5 numbers of all rows, each half modulo 2^64. A sum knows no order; unlike XOR it
    counts equal rows. DuckDB reads the table in a stream: memory does not grow with it.

    :raises TableError: the table is not there, or not as of then.
    :raises InputError: DuckDB cannot read a value.
    """
    present = {field.name for field in open_table(table, settings, as_of).schema().fields}
    columns = [name for name in sorted(stable_columns(table.schema)) if name in present]
    form = " || ".join(_named(name, table.schema[name].dataType) for name in columns)
    numbers = f"SELECT md5_number({form}) AS number FROM {table.name} WHERE {_COUNTED.get(table.name, 'true')}"
    upper, lower = "(number >> 64)::UBIGINT", f"(number & {_HALF - 1}::UHUGEINT)::UBIGINT"
    sums = f"SELECT count(*), coalesce(sum({upper}), 0), coalesce(sum({lower}), 0) FROM ({numbers})"
    ((rows, *halves),) = rows_of(query(sums, settings, as_of))
    return Content(rows, "".join(f"{half % _HALF:016x}" for half in halves))


def prefixed(text: str) -> str:
    """SQL for a text with its length in bytes before it, so that texts one after the other are told apart.

    It is null where the text is.
    """
    return f"strlen({text}) || ':' || {text}"


def _named(name: str, kind: DataType) -> str:
    # A null is left out: a column that a table gets later then changes no digest of the rows before it.
    return f"""coalesce('{name}=' || {prefixed(_text(f'"{name}"', kind))}, '')"""


def _text(value: str, kind: DataType, depth: int = 0) -> str:
    """SQL for the text of a value; two values have the same one only when they are equal."""
    inner = f"e{depth}"
    match kind:
        case StringType():
            return value
        case BinaryType():
            return f"hex({value})"
        case TimestampType():
            return f"epoch_us({value})::VARCHAR"
        case ArrayType():
            return _joined(value, inner, _or_dash(_text(inner, kind.elementType, depth + 1)))
        case MapType():
            key = prefixed(_text(f"{inner}.key", kind.keyType, depth + 1))
            entry = f"{key} || {_or_dash(_text(f'{inner}.value', kind.valueType, depth + 1))}"
            # As sorted text: a map has no order.
            return f"array_to_string(list_sort({_each(f'map_entries({value})', inner, entry)}), '')"
        case StructType():
            fields = [_or_dash(_text(f'{value}."{field.name}"', field.dataType, depth)) for field in kind.fields]
            return f"CASE WHEN {value} IS NOT NULL THEN {' || '.join(fields)} END"
        case _:
            return f"{value}::VARCHAR"


def _or_dash(text: str) -> str:
    return f"coalesce({prefixed(text)}, '-')"


def _each(values: str, name: str, text: str) -> str:
    return f"list_transform({values}, lambda {name}: {text})"


def _joined(values: str, name: str, text: str) -> str:
    return f"array_to_string({_each(values, name, text)}, '')"
