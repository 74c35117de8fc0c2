"""On which days did the sessions of a user and session id begin? An index of silver.sessions, in the driver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from silver.days_of_ids import Day, DaysOfIds
from silver.session_reconcile import Span, StreamKey
from silver.stretches import DAY_US


class SessionIndex:
    """12 bytes a session."""

    def __init__(self, table: DataFrame) -> None:
        """:param table: all rows of silver.sessions."""
        self._days = DaysOfIds()
        name = F.concat_ws("|", "user_id", F.coalesce("user_session", F.lit("")))
        self._days.load(table.select(name.alias("id"), F.col("started_on").alias("day")))

    def days_of(self, keys: Iterable[StreamKey]) -> dict[StreamKey, set[Day]]:
        """Out: the days on which they may have begun; of new ones nothing."""
        names = {_name(key): key for key in keys}
        return {names[name]: days for name, days in self._days.days_of(list(names)).items()}

    def add(self, placed: Mapping[StreamKey, list[Span]]) -> None:
        known = self.days_of(placed)
        for key, spans in placed.items():
            begun = {span.first_us // DAY_US for span in spans}
            self._days.add((_name(key), day) for day in begun - known.get(key, set()))


def _name(key: StreamKey) -> str:
    user_id, session_id = key
    return f"{user_id}|{session_id}"
