"""What the session's own ports let through: other accounts of this machine reach them."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession


def ask_the_driver(spark: SparkSession, with_login: bool) -> str:
    """As an executor would: where the shuffled blocks are. Out: whom it has reached.

    :param with_login: by the secret, which whoever is in the driver's JVM finds there.
    """
    jvm, conf = spark.sparkContext._jvm, spark.sparkContext._conf
    assert jvm is not None
    own = jvm.org.apache.spark.SparkConf(False).set("spark.authenticate", str(with_login).lower())
    own.set("spark.network.crypto.enabled", str(with_login).lower())
    of_scala = jvm.org.apache.spark.SecurityManager
    defaults = [getattr(of_scala, f"$lessinit$greater$default${number}")() for number in (2, 3)]
    environment = jvm.org.apache.spark.rpc.RpcEnv.create("other", "127.0.0.1", 0, own, of_scala(own, *defaults), True)
    try:
        driver = jvm.org.apache.spark.rpc.RpcAddress("127.0.0.1", int(conf.get("spark.driver.port") or 0))
        return str(environment.setupEndpointRef(driver, "MapOutputTracker").name())
    finally:
        environment.shutdown()


def test_the_driver_speaks_to_who_knows_its_secret_and_to_nobody_else(spark: SparkSession) -> None:
    assert ask_the_driver(spark, True) == "MapOutputTracker"
    with pytest.raises(Py4JJavaError):
        ask_the_driver(spark, False)
