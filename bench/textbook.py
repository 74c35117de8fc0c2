"""The same flow as a good tutorial writes it, to compare with: three structured streams, chained through Delta tables.

    spark-submit bench/textbook.py      settings come from LAKEHOUSE_*, as everywhere

Kafka -> bronze (append) -> silver (parsed, cast, without copies) -> gold (MERGE), and each change of gold to the topic
of sales. Nothing is tuned and nothing is made worse: Spark's defaults, the default trigger, and two shuffle partitions,
since with the default 200 every tutorial on one machine is told to lower them. Of the two writes of gold the topic
comes first, in favour of its latency. `spark-defaults.conf` of this installation holds for it as for our jobs: 3 GB,
the parallel collector, no web page.

What it does not do: it drops late events, takes no note of broken ones, and its revisions start again with a new
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from lakehouse.kafka_access import for_spark
from lakehouse.settings import Settings, load_settings
from lakehouse.streams import Stop
from lakehouse.tables import GOLD_PRODUCT_SALES

RUNNING = "textbook: running"
_LATE = "10 minutes"
_EVENT = (
    "event_time STRING, event_type STRING, product_id BIGINT, category_id BIGINT, category_code STRING, "
    "brand STRING, price STRING, user_id BIGINT, user_session STRING"
)
_NINE = (
    "event_at", "event_type", "product_id", "category_id", "category_code", "brand", "price", "user_id", "user_session",
)  # fmt: skip


class Textbook:
    """Three streams under one folder of tables and checkpoints."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings
        self._folder = f"{settings.lake_url}/textbook"

    def start(self) -> list[StreamingQuery]:
        bronze = bronze_rows(self._from_kafka())
        self._make_table("bronze", bronze.schema)
        silver = silver_rows(self._from_table("bronze"))
        self._make_table("silver", silver.schema)
        gold = gold_rows(self._from_table("silver"), f"{self._settings.sales_window_s} seconds")
        self._make_table("gold", gold.withColumn("revision", F.lit(0).cast("bigint")).schema)
        return [
            self._append(bronze, "bronze"),
            self._append(silver, "silver"),
            gold.writeStream.queryName("gold")
            .outputMode("update")
            .option("checkpointLocation", f"{self._folder}/_checkpoints/gold")
            .foreachBatch(self._upsert())
            .start(),
        ]

    def _from_kafka(self) -> DataFrame:
        return (
            self._spark.readStream.format("kafka")
            .options(**for_spark(self._settings))
            .option("subscribe", self._settings.events_topic)
            .option("startingOffsets", "earliest")
            .load()
        )

    def _from_table(self, name: str) -> DataFrame:
        return self._spark.readStream.format("delta").load(f"{self._folder}/{name}")

    def _make_table(self, name: str, schema: StructType) -> None:
        DeltaTable.createIfNotExists(self._spark).location(f"{self._folder}/{name}").addColumns(schema).execute()

    def _append(self, rows: DataFrame, name: str) -> StreamingQuery:
        return (
            rows.writeStream.queryName(name)
            .format("delta")
            .outputMode("append")
            .option("checkpointLocation", f"{self._folder}/_checkpoints/{name}")
            .start(f"{self._folder}/{name}")
        )

    def _upsert(self) -> Callable[[DataFrame, int], None]:
        folder, settings = self._folder, self._settings

        def upsert(changes: DataFrame, batch_id: int) -> None:
            changed = changes.withColumn("revision", F.lit(batch_id).cast("bigint")).persist()
            (
                sales_records(changed)
                .write.format("kafka")
                .options(**for_spark(settings))
                .option("topic", GOLD_PRODUCT_SALES.topic(settings))
                .save()
            )
            (
                DeltaTable.forPath(changed.sparkSession, f"{folder}/gold")
                .alias("t")
                .merge(changed.alias("s"), "t.product_id = s.product_id AND t.window_start_at = s.window_start_at")
                .whenMatchedUpdateAll()
                .whenNotMatchedInsertAll()
                .execute()
            )
            changed.unpersist()

        return upsert


def bronze_rows(records: DataFrame) -> DataFrame:
    """In: Kafka's columns. Out: one row per record, the value untouched."""
    return records.select("key", "value", "topic", "partition", "offset", F.col("timestamp").alias("kafka_at"))


def silver_rows(bronze: DataFrame) -> DataFrame:
    """In: bronze rows. Out: one row per distinct event; what cannot be read or is late is dropped."""
    event = F.from_json(F.col("value").cast("string"), _EVENT).alias("event")
    return (
        bronze.select(event, "kafka_at")
        .select("event.*", "kafka_at")
        .withColumn("event_at", F.try_to_timestamp("event_time", F.lit("yyyy-MM-dd HH:mm:ss 'UTC'")))
        .withColumn("price", F.col("price").try_cast("decimal(10,2)"))
        .where("event_at IS NOT NULL AND event_type IS NOT NULL AND product_id IS NOT NULL AND price IS NOT NULL")
        .withWatermark("event_at", _LATE)
        .dropDuplicatesWithinWatermark(list(_NINE))
        .select(*_NINE, "kafka_at")
    )


def gold_rows(silver: DataFrame, window: str) -> DataFrame:
    """In: silver rows. Out: one row per product and window. `buyers` is approximate: streams cannot count distinct."""
    is_sale = F.col("price") > 0
    return (
        silver.where("event_type = 'purchase' AND price <> 0")
        .withWatermark("event_at", _LATE)
        .groupBy(F.window("event_at", window), "product_id")
        .agg(
            F.count_if(is_sale).alias("units"),
            F.coalesce(F.sum(F.when(is_sale, F.col("price"))), F.lit(0)).cast("decimal(20,2)").alias("revenue"),
            F.approx_count_distinct(F.when(is_sale, F.col("user_id"))).alias("buyers"),
            F.count_if(~is_sale).alias("refund_units"),
            F.coalesce(F.sum(F.when(~is_sale, -F.col("price"))), F.lit(0)).cast("decimal(20,2)").alias("refund_amount"),
            F.max("event_at").alias("last_purchase_at"),
        )
        .withColumns({"window_start_at": F.col("window.start"), "window_end_at": F.col("window.end")})
        .drop("window")
    )


def sales_records(gold: DataFrame) -> DataFrame:
    """In: gold rows. Out: key and value as our own topic of sales has them: JSON, money as text, times in ISO 8601."""
    money = {name: F.col(name).cast("string") for name in ("revenue", "refund_amount")}
    key = F.concat_ws("|", F.date_format("window_start_at", "yyyy-MM-dd'T'HH:mm:ss'Z'"), "product_id")
    columns = gold.columns
    return (
        gold.select(key.alias("key"), "*")
        .withColumns(money)
        .select("key", F.to_json(F.struct(*columns)).alias("value"))
    )


def main() -> None:
    settings, stop = load_settings(), Stop().listen()
    spark = (
        SparkSession.builder.appName("textbook")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    queries = Textbook(spark, settings).start()
    print(RUNNING, flush=True)
    while not stop.wait(0.5):
        for query in queries:
            if not query.isActive:
                query.awaitTermination()  # raises what it died of
    for query in queries:
        query.stop()
    spark.stop()


if __name__ == "__main__":
    main()
