"""Every error a user can meet: what was found, what was expected, what to do next."""

from __future__ import annotations

from lakehouse.visible import visible


class LakehouseError(Exception):
    """The parent of all errors that are reported in one line, without a stack trace.

    :param found: what is wrong, with the offending value.
    :param expected: what would have been right.
    :param next_step: what the reader can do now.
    """

    def __init__(self, found: str, expected: str = "", next_step: str = "") -> None:
        self.found, self.expected, self.next_step = found, expected, next_step
        parts = [found, f"Expected: {expected}" if expected else "", f"Next: {next_step}" if next_step else ""]
        super().__init__(visible("\n  ".join(part for part in parts if part)))


class SettingError(LakehouseError):
    """A setting is unknown or its value cannot be used."""


class JavaError(LakehouseError):
    """No Java runtime that Spark and Kafka can run on."""


class DownloadError(LakehouseError):
    """A pinned artifact could not be fetched."""


class ServiceError(LakehouseError):
    """An embedded service did not start, or died."""


class LockedError(LakehouseError):
    """Another process is the writer of this table, or runs in this home."""


class DataLossError(LakehouseError):
    """Kafka no longer holds records that bronze has not read. Never passed over."""


class TableError(LakehouseError):
    """A table is missing, unknown, or not as its contract says."""


class GoneError(TableError):
    """A table no longer has what a reader was to go on with: commits in its log, or files of older versions."""


class InputError(LakehouseError):
    """A file or an argument given by the user cannot be used."""


class MissingExtraError(LakehouseError):
    """A command needs packages that a plain installation does not bring."""
