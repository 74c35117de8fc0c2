"""docs/settings.md, made from `Settings`: `python -m lakehouse.settings_page` writes it."""

from __future__ import annotations

from pathlib import Path

from lakehouse.settings import PREFIX, Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

_ABOUT = """\
# Settings
A setting comes from a flag (`--home`, `--lake`), else from the environment, else from a file `.env` in the folder in
which a command starts. An unknown name is an error that names the nearest known one. Error messages never show
passwords, connection strings or tokens.

This page is generated from `lakehouse/settings.py` by `python -m lakehouse.settings_page`.
"""

GROUPS: dict[str, tuple[str, ...]] = {
    "Folders": ("home", "lake", "logs_mb"),
    "Files of events": (
        "input_folder",
        "archive_folder",
        "file_retention_days",
        "file_settle_s",
        "drop_interval_s",
        "max_unreadable_share",
    ),
    "Kafka": (
        "kafka_bootstrap",
        "kafka_security_protocol",
        "kafka_sasl_mechanism",
        "kafka_user",
        "kafka_password",
        "kafka_ca_file",
        "kafka_port",
        "kafka_memory_mb",
        "kafka_retention_s",
        "topic_partitions",
        "events_topic",
        "unreadable_topic",
        "gold_topic_prefix",
    ),
    "Wire format and schema registry": ("wire", "registry_url", "registry_user", "registry_password"),
    "Kafka Connect": ("connect_url", "connect_user", "connect_password"),
    "PostgreSQL": ("postgres_dsn", "postgres_port", "bi_password"),
    "Live page": ("live_host", "live_port", "live_hosts", "live_dsn", "live_token"),
    "Spark": (
        "master",
        "driver_memory_mb",
        "rounds_memory_mb",
        "trigger_ms",
        "max_batch_rows",
        "commit_s",
        "commit_rows",
        "recent_s",
        "recent_rows",
    ),
    "How often the slower tables are updated": (
        "round_s",
        "sessions_s",
        "sessions_bulk_events",
        "carts_s",
        "scores_s",
        "customer_scores_s",
    ),
    "Sales, sessions and carts": (
        "sales_window_s",
        "late_s",
        "session_gap_s",
        "session_hold_s",
        "cart_abandon_s",
        "cart_recovery_s",
    ),
    "Rules for events": (
        "future_tolerance_s",
        "store_opened_on",
        "max_value_bytes",
        "max_text_chars",
        "max_extras",
        "max_extra_chars",
    ),
    "Data quality": (
        "quality_records",
        "quality_min_records",
        "quarantine_rate_max",
        "null_rate_bands",
        "most_expected",
    ),
    "Models": (
        "mlflow_tracking_uri",
        "mlflow_port",
        "ml_holdout_days",
        "ml_gate_standard_errors",
        "ml_drift_days",
        "ml_leak_cut_offs",
        "ml_seed",
    ),
}
"""Heading -> the settings under it, in order."""

_UNITS = {"s": "s", "ms": "ms", "mb": "MB", "days": "days", "bytes": "bytes", "chars": "characters"}
_LONG = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))


def settings_page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([_ABOUT, *map(_section, GROUPS)])


def _section(heading: str) -> str:
    rows = map(_row, GROUPS[heading])
    return "\n".join([f"## {heading}", "| setting | default | meaning |", "|---|---|---|", *rows, ""])


def _row(name: str) -> str:
    """A row of a table: name, default with its unit, meaning."""
    field = Settings.model_fields[name]
    default = f"`{field.default}`" if str(field.default) else ""
    shown = " ".join(part for part in (default, unit_of(name, field.default)) if part)
    return f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |"


def unit_of(name: str, value: object = 0) -> str:
    """The unit that a setting's name ends with; long times are given in larger units too. Empty: it has none."""
    unit = _UNITS.get(name.rpartition("_")[2], "")
    if unit == "s" and isinstance(value, int | float):
        for length_s, larger in _LONG:
            if value >= 2 * length_s and not value % length_s:
                return f"s ({value / length_s:g} {larger})"
    return unit


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
