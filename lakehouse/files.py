"""The few files of a lake that are not read as tables, wherever the lake is: Hadoop's file systems know how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from lakehouse.errors import TableError
from lakehouse.session import is_local


def read_text(spark: SparkSession, url: str) -> str:
    """The whole of a small UTF-8 file.

    :raises FileNotFoundError: there is none.
    """
    if is_local(url):  # six calls to the JVM take longer than the reading
        return _local(url).read_text(encoding="utf-8")
    path, system = _open(spark, url)
    try:
        stream = system.open(path)
    except Py4JJavaError as error:
        if error.java_exception.getClass().getSimpleName() == "FileNotFoundException":
            raise FileNotFoundError(url) from None
        raise
    try:
        return str(_jvm(spark).org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()


def write_text(spark: SparkSession, url: str, text: str) -> None:
    """Makes a small UTF-8 file where there is none. Nobody sees a part of it.

    :raises TableError: it cannot be made.
    """
    path, system = _open(spark, url)
    beside, _ = _open(spark, f"{url}.new")
    stream = system.create(beside, True)
    try:
        stream.write(bytearray(text.encode()))
    finally:
        stream.close()
    if not system.rename(beside, path):
        raise TableError(f"{url} cannot be written.", "a new file in a folder that can be written")


def exists(spark: SparkSession, url: str) -> bool:
    if is_local(url):
        return _local(url).exists()
    path, system = _open(spark, url)
    return bool(system.exists(path))


def list_names(spark: SparkSession, url: str) -> list[str]:
    """The names of what is in a folder; none when there is no such folder."""
    if is_local(url):  # a log of a day has tens of thousands of names, each two calls to the JVM
        folder = _local(url)
        return [each.name for each in folder.iterdir()] if folder.is_dir() else []
    path, system = _open(spark, url)
    if not system.exists(path):
        return []
    return [status.getPath().getName() for status in system.listStatus(path)]


def delete_folder(spark: SparkSession, url: str) -> None:
    path, system = _open(spark, url)
    system.delete(path, True)


def _local(url: str) -> Path:
    return Path(url.removeprefix("file:"))


def _open(spark: SparkSession, url: str) -> tuple[Any, Any]:
    path = _jvm(spark).org.apache.hadoop.fs.Path(url)
    return path, path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())


def _jvm(spark: SparkSession) -> Any:
    return spark.sparkContext._jvm
