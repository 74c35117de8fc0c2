"""All settings, in one frozen object. Read from flags, then `LAKEHOUSE_*` variables, then a `.env` file."""

from __future__ import annotations

import difflib
import os
import re
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakehouse.conninfo import is_conninfo
from lakehouse.env_file import ENCODING, names_in, refuse_others
from lakehouse.errors import SettingError
from lakehouse.home import keep_to_ourselves
from lakehouse.service_links import drop_service_links

PREFIX = "LAKEHOUSE_"
_ENV_FILE = Path(".env")


class Settings(BaseSettings):
    """Names carry their unit (`_s`, `_ms`, `_mb`); a name without one is a count, a name or a place."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding=ENCODING,
        frozen=True,
        extra="ignore",
        validate_default=True,
        hide_input_in_errors=True,  # it may be a secret
    )

    home: Path = Field(
        Path(".lakehouse"), description="Folder of all state: tables, Kafka's log, databases, checkpoints, logs."
    )
    lake: str = Field("", description="Folder or URL of the Delta tables. Empty: `lake` in the home folder.")
    input_folder: str = Field("", description="Folder watched for files of events. Empty: `input` in the home folder.")
    archive_folder: str = Field(
        "",
        description="Folder that keeps the files read. Empty: `_archive` in a local lake, else `archive` in the home.",
    )
    file_retention_days: int = Field(0, ge=0, description="Age at which read and rejected files are deleted. 0: never.")
    logs_mb: int = Field(256, ge=1, description="Maximum size of the folder `logs` in the home.")
    file_settle_s: float = Field(1.0, ge=0, description="A file is read once it has not changed for this long.")
    drop_interval_s: float = Field(60.0, ge=0, description="Pause between two files of `lakehouse ingest drop`.")
    kafka_bootstrap: str = Field(
        "",
        description="Kafka brokers as `host:port`, separated by commas. Empty: an embedded broker in the home folder.",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT",
        description="Security protocol of an external Kafka. The embedded broker sets its own.",
    )
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism of an external Kafka, used with the two SASL protocols."
    )
    kafka_user: str = Field("", description="User name at an external Kafka.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    kafka_ca_file: str = Field(
        "", description="CA certificates (PEM) to check an external Kafka's certificate with. Empty: the system's."
    )
    kafka_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of the embedded broker on 127.0.0.1. 0: any free port, kept across restarts.",
    )
    kafka_memory_mb: int = Field(256, ge=128, description="Java heap of the embedded broker.")
    kafka_retention_s: int = Field(7 * 86400, ge=60, description="How long the embedded broker keeps store events.")
    events_topic: str = Field("store-events", description="Topic of the store events.")
    unreadable_topic: str = Field("store-events-unreadable", description="Topic of input rows that cannot be read.")
    wire: Literal["json", "avro"] = Field(
        "json", description="Format in which our producers write events: `json`, or `avro` with a schema registry."
    )
    registry_url: str = Field(
        "",
        description="Schema registry with Confluent's API. Empty: none; Avro is read with the schemas already known.",
    )
    registry_user: str = Field("", description="User name at the schema registry.")
    registry_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    gold_topic_prefix: str = Field("", description="Prefix of the names of gold's topics, such as `product-sales`.")
    postgres_dsn: SecretStr = Field(
        SecretStr(""),
        description="Connection string of the PostgreSQL that serves gold. Empty: an embedded one in the home folder.",
    )
    postgres_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of the embedded PostgreSQL on 127.0.0.1. 0: any free port, kept across restarts.",
    )
    bi_password: SecretStr = Field(
        SecretStr(""),
        description="Password of the read-only role `bi`. Empty: the embedded server generates one, once.",
    )
    live_host: str = Field("127.0.0.1", description="Address on which the live page listens.")
    live_port: int = Field(
        0, ge=0, le=65535, description="Port of the live page. 0: any free port, kept across restarts."
    )
    live_hosts: str = Field(
        "",
        description="Host names, separated by commas, by which browsers may open the page. Required beyond 127.0.0.1.",
    )
    live_dsn: SecretStr = Field(
        SecretStr(""),
        description="Connection string of the live page. Empty: role `bi` on the PostgreSQL that serves gold.",
    )
    live_token: SecretStr = Field(
        SecretStr(""),
        description="Token in the live page's address. Empty: generated once and kept in the home folder.",
    )
    connect_url: str = Field("", description="Kafka Connect's REST interface. Empty: Kafka Connect is not used.")
    connect_user: str = Field("", description="User name at Kafka Connect. Empty: no login.")
    connect_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    mlflow_tracking_uri: str = Field(
        "", description="MLflow that keeps runs and models. Empty: an embedded one in the home folder."
    )
    mlflow_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of the embedded MLflow on 127.0.0.1. 0: any free port, kept across restarts.",
    )
    ml_holdout_days: int = Field(
        60,
        ge=1,
        description="Newest days of silver, kept out of training and used to evaluate the lifetime-value model.",
    )
    ml_gate_standard_errors: float = Field(
        1.0, ge=0, description="A new model becomes champion only if its log score is this many standard errors better."
    )
    ml_drift_days: int = Field(
        30, ge=1, description="Days after which lifetime-value predictions are compared with what customers bought."
    )
    ml_leak_cut_offs: int = Field(
        6,
        ge=2,
        description="Moments at which training checks that purchase-intent features use no later data.",
    )
    ml_seed: int = Field(1, ge=0, description="Random seed of training and its reports.")
    topic_partitions: int = Field(4, ge=1, description="Partitions of each topic that the lakehouse creates.")
    master: str = Field("local[*]", description="Spark master of jobs that spark-submit does not start.")
    driver_memory_mb: int = Field(
        3072, ge=1024, description="Java heap of the Spark driver in jobs that `lakehouse` starts."
    )
    rounds_memory_mb: int = Field(
        1536,
        ge=512,
        description="Java heap of each Spark driver of `lakehouse up` beside the pipeline: sessions, carts, scores.",
    )
    trigger_ms: int = Field(200, ge=0, description="Minimum time between the starts of two micro-batches.")
    max_batch_rows: int = Field(100_000, ge=1, description="Maximum number of Kafka records in one micro-batch.")
    commit_s: float = Field(
        10.0, ge=0, le=30, description="Maximum time that published records wait to be written together with others."
    )
    commit_rows: int = Field(50_000, ge=1, description="Number of published records that are written without waiting.")
    sales_window_s: int = Field(
        60, ge=1, le=86400, description="Window length of gold.product_sales. It must divide a day."
    )
    round_s: float = Field(
        30.0, ge=0, description="Minimum time between two writes of gold's tables and of the quality log."
    )
    recent_s: int = Field(
        1800,
        ge=60,
        description="Events up to this old, by the store clock, are looked up in memory; older ones in their table.",
    )
    recent_rows: int = Field(1_000_000, ge=1000, description="Maximum number of events held in memory.")
    sessions_s: float = Field(20.0, ge=0, description="Minimum time between two updates of silver.sessions.")
    sessions_bulk_events: int = Field(
        100_000,
        ge=0,
        description="Backlog above which sessions are computed in bulk, not by the stream.",
    )
    carts_s: float = Field(
        10.0, ge=0, description="Minimum time between the starts of two updates of gold.abandoned_carts."
    )
    scores_s: float = Field(10.0, ge=0, description="Minimum time between the starts of two scorings of open carts.")
    customer_scores_s: float = Field(
        300.0,
        ge=0,
        description="Minimum time between two scorings of customers. A new champion scores at once.",
    )
    session_gap_s: int = Field(
        1800, ge=1, description="Inactivity that ends a session when events carry no session id."
    )
    session_hold_s: int = Field(
        86400, ge=1, description="Inactivity after which the stream no longer holds a session in its state."
    )
    cart_abandon_s: int = Field(1800, ge=1, description="A cart is abandoned after this long without a change.")
    cart_recovery_s: int = Field(
        7 * 86400, ge=0, description="A purchase of one of its items within this time recovers an abandoned cart."
    )
    future_tolerance_s: int = Field(
        300, ge=0, description="Maximum time by which event_at may be ahead of Kafka's clock."
    )
    store_opened_on: date = Field(date(2015, 1, 1), description="Events before this day are rejected.")
    late_s: int = Field(600, ge=0, description="An event this far behind the store clock counts as late.")
    quality_records: int = Field(
        10_000, ge=1, description="Number of newest records whose rates are compared with the bands."
    )
    quality_min_records: int = Field(1000, ge=1, description="Minimum number of records for which rates are checked.")
    quarantine_rate_max: float = Field(
        0.02, ge=0, le=1, description="Maximum share of records rejected before a warning."
    )
    null_rate_bands: str = Field(
        "brand 0.2-0.65, category_code 0.9-1, category_id 0-0.01, user_session 0-0.01",
        description="Allowed share of events without a value, minimum-maximum, for columns of silver.events.",
    )
    most_expected: str = Field(
        "products 1000000, brands 50000, event_days 4000",
        description="Numbers above which `lakehouse status` warns, since more make each write slower.",
    )
    max_value_bytes: int = Field(
        1_048_576, ge=1, description="Maximum size of a record's value. Larger records are rejected."
    )
    max_text_chars: int = Field(
        255, ge=1, le=255, description="Maximum length of brand, category_code, user_session and of a field's name."
    )
    max_unreadable_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="A file is rejected if more than this share of its first 1,000 rows cannot be read.",
    )
    max_extras: int = Field(
        64, ge=0, le=256, description="Maximum number of unknown fields kept per event. The event says if it had more."
    )
    max_extra_chars: int = Field(
        1024, ge=1, le=4096, description="Maximum number of characters kept of an unknown field's value."
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        home = Path(os.path.abspath(home.expanduser()))  # noqa: PTH100 (links stay as the user gave them)
        _refuse_path(str(home))
        return home

    @field_validator("kafka_security_protocol")
    @classmethod
    def _is_not_embedded(cls, protocol: str, info: ValidationInfo) -> str:
        if protocol != "PLAINTEXT" and not info.data.get("kafka_bootstrap"):
            raise ValueError("is for a Kafka of your own, and LAKEHOUSE_KAFKA_BOOTSTRAP names none")
        return protocol

    @field_validator("kafka_user", "kafka_password")
    @classmethod
    def _goes_with_sasl(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        protocol = info.data.get("kafka_security_protocol", "PLAINTEXT")
        is_given = bool(value.get_secret_value() if isinstance(value, SecretStr) else value)
        if is_given != protocol.startswith("SASL"):
            raise ValueError(
                f"{'is' if is_given else 'must be'} for a login, and LAKEHOUSE_KAFKA_SECURITY_PROTOCOL is {protocol}"
            )
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _can_be_read(cls, path: str) -> str:
        if path and not Path(path).is_file():
            raise ValueError("there is no such file")
        return path

    @field_validator("postgres_dsn", "live_dsn")
    @classmethod
    def _can_be_read_by_libpq(cls, dsn: SecretStr) -> SecretStr:
        if dsn.get_secret_value() and not is_conninfo(dsn.get_secret_value()):
            raise ValueError(
                "is no connection string of PostgreSQL. Write `host=... dbname=... user=... password=...`, with quotes "
                "around values that have spaces; in a URL `%`, `@`, `/` and `:` of a password are %25, %40, %2F and %3A"
            )
        return dsn

    @field_validator("live_token")
    @classmethod
    def _fits_into_an_address(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch(r"([A-Za-z0-9_-]{16,256})?", token.get_secret_value()):
            raise ValueError("has at least 16 characters, of letters, digits, - and _")
        return token

    @field_validator("sales_window_s")
    @classmethod
    def _divides_a_day(cls, sales_window_s: int) -> int:
        if 86400 % sales_window_s:
            raise ValueError("must divide a day (86400 s), so that windows add up to hours and days")
        return sales_window_s

    @field_validator("lake")
    @classmethod
    def _can_be_opened(cls, lake: str) -> str:
        if "://" not in lake:
            _refuse_path(str(Path(lake).absolute()))
        return lake

    @field_validator("null_rate_bands")
    @classmethod
    def _are_bands(cls, text: str) -> str:
        for name, (low, high) in _bands(text).items():
            if not 0 <= low <= high <= 1:
                raise ValueError(f"{name}: shares rise from 0 to 1, as in `brand 0.2-0.65`")
        return text

    @field_validator("most_expected")
    @classmethod
    def _are_limits(cls, text: str) -> str:
        _limits(text)
        return text

    @property
    def limits(self) -> dict[str, int]:
        """`products`, `brands` or `event_days` -> how many are expected at most."""
        return _limits(self.most_expected)

    @property
    def kafka_has_login(self) -> bool:
        return self.kafka_security_protocol.startswith("SASL")

    @property
    def null_bands(self) -> dict[str, tuple[float, float]]:
        """Column -> smallest and largest share of events without a value."""
        return _bands(self.null_rate_bands)

    @property
    def lake_url(self) -> str:
        """Where the tables are, without a slash at the end."""
        return (self.lake or str(self.home / "lake")).rstrip("/")

    @property
    def lake_folder(self) -> Path | None:
        """Where the tables are, if that is a folder of this machine."""
        path = self.lake_url.removeprefix("file://")
        return None if "://" in path else Path(path).absolute()

    @property
    def input_path(self) -> Path:
        return Path(self.input_folder).absolute() if self.input_folder else self.home / "input"

    @property
    def archive_path(self) -> Path:
        """Beside the tables where they are in a folder of this machine."""
        if self.archive_folder:
            return Path(self.archive_folder).absolute()
        return self.lake_folder / "_archive" if self.lake_folder else self.home / "archive"

    @property
    def mlflow_folder(self) -> Path:
        """Of the embedded MLflow."""
        return self.home / "mlflow"

    @property
    def mlflow_uri(self) -> str:
        """Where runs and models are kept."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.mlflow_folder / 'mlflow.db'}"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def as_environment(self) -> dict[str, str]:
        """The settings as `LAKEHOUSE_*` variables, to hand them to a process that we start."""
        return {
            PREFIX + name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self.model_dump().items()
        }


def _refuse_path(path: str) -> None:
    """Some programs that open files of a home or a lake take these characters for something else: delta-rs for parts of
    a URL, Kafka a comma for the end of a folder's name.
    """
    if not path.isprintable():
        raise ValueError("a path has no control characters, and is UTF-8")
    found = "".join(sorted(set(path) & set("#%?[]|^\\,")))
    if found:
        raise ValueError(f"the path has {' '.join(found)}, which delta-rs or Kafka cannot open")


def _bands(text: str) -> dict[str, tuple[float, float]]:
    bands = {}
    for part in filter(None, map(str.strip, text.split(","))):
        band = re.fullmatch(r"(\w+) +([\d.]+) *- *([\d.]+)", part)
        if band is None:
            raise ValueError(f"{part!r} is no column with a band, such as `brand 0.2-0.65`")
        bands[band[1]] = (float(band[2]), float(band[3]))
    return bands


def _limits(text: str) -> dict[str, int]:
    limits = {}
    for part in filter(None, map(str.strip, text.split(","))):
        limit = re.fullmatch(r"(products|brands|event_days) +(\d+)", part)
        if limit is None:
            raise ValueError(f"{part!r} is no limit, such as `products 1000000`, `brands 50000` or `event_days 4000`")
        limits[limit[1]] = int(limit[2])
    return limits


def load_settings(**overrides: Any) -> Settings:
    """Settings from flags (those not None), environment and `.env`. Every program loads them before it writes a file,
    and what it writes from then on is for its own account alone.

    :raises InputError: the home is not ours alone.
    :raises SettingError: an unknown `LAKEHOUSE_*` name (the nearest known one is named), a value out of range, or a
        `.env` that is not UTF-8, or that others may write.
    """
    drop_service_links(os.environ, PREFIX)
    env_names = names_in(_ENV_FILE)
    refuse_others(_ENV_FILE, holds_secrets=any(_is_secret(name.upper().removeprefix(PREFIX)) for name in env_names))
    for source, names in (("the environment", list(os.environ)), (".env", env_names)):
        for name in names:
            _refuse_unknown(name, source)
    for name in overrides:
        _refuse_unknown(PREFIX + name.upper(), "the program")
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        field = Settings.model_fields.get(name)
        shown = "(a secret)" if _is_secret(name.upper()) else repr(first.get("input"))
        raise SettingError(
            f"Setting {PREFIX}{name.upper()} is {shown}: {first['msg']}.",
            field.description or "" if field else "",
            "correct it in the environment, .env or the flag",
        ) from None
    keep_to_ourselves(settings.home)
    return settings


def _is_secret(name: str) -> bool:
    """:param name: of a setting, as it is in the environment, without the prefix."""
    field = Settings.model_fields.get(name.lower())
    return field is not None and field.annotation is SecretStr


def _refuse_unknown(name: str, source: str) -> None:
    if not name.upper().startswith(PREFIX):
        return
    known = [PREFIX + field.upper() for field in Settings.model_fields]
    if name.upper() in known:
        return
    nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)
    raise SettingError(f"Unknown setting {name} in {source}.", f"one of the known names; the nearest is {nearest[0]}")
