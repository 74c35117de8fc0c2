"""`lakehouse thrift`: Spark's Thrift server over the tables of the lake, every version of them, for JDBC clients."""

from __future__ import annotations

from collections.abc import Callable

from lakehouse import commits
from lakehouse.session import spark_session
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import TABLES
from operate.services import ports

Say = Callable[[str], None]


def thrift(settings: Settings, port: int, say: Say) -> int:
    """Serves until told to stop. Nobody proves who he is, and whoever comes may write: it listens on 127.0.0.1 alone.

    :param port: 0 for a free one, which is remembered.
    :raises ServiceError: the port is taken.
    """
    stop = Stop().listen()
    folder = settings.home / "thrift"
    chosen, notes = ports.settle(folder / "ports.json", {"thrift_port": port})
    for note in notes:
        say(note)
    here = {
        "spark.hadoop.hive.server2.thrift.bind.host": ports.LOOPBACK,
        "spark.hadoop.hive.server2.thrift.port": str(chosen["thrift_port"]),
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:metastore;create=true",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    say("starting Spark")
    with spark_session("storefront history", settings, here) as spark:
        found = [table for table in TABLES if commits.current_version(spark, table, settings) >= 0]
        for table in found:
            spark.sql(f"CREATE DATABASE IF NOT EXISTS {table.layer}")
            spark.sql(f"CREATE TABLE {table.name} USING delta LOCATION '{table.path(settings)}'")
        jvm = spark.sparkContext._jvm
        assert jvm is not None
        jvm.java.lang.System.setProperty("derby.stream.error.file", str(folder / "derby.log"))
        server = jvm.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2
        server.startWithContext(spark._jsparkSession.sqlContext())
        say(f"{len(found)} tables at jdbc:hive2://{ports.LOOPBACK}:{chosen['thrift_port']}; Ctrl-C stops it")
        while not stop.wait(0.5):
            pass
        say("stopping")
    return 0
