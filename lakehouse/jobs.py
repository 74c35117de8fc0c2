"""What the jobs of all layers share: their flags, their session, their lock, and how they end."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from pyspark.sql import SparkSession

from lakehouse.errors import LakehouseError
from lakehouse.locks import writer_of
from lakehouse.logs import bound
from lakehouse.manifests import refuse_unfinished
from lakehouse.session import spark_session
from lakehouse.settings import Settings, load_settings
from lakehouse.streams import Stop, StoppedError
from lakehouse.surroundings import ask_directly
from lakehouse.visible import log_visibly

Follow = Callable[[SparkSession, Settings, Stop, bool], None]


def run_job(layer: str, follow: Follow, description: str, also: tuple[str, ...] = ()) -> None:
    """The main function of a layer's job. Ends the process with 0 when it is through, or stopped by a signal.

    :param also: tables that it writes beside the layer's, which in `lakehouse up` have a writer of their own.
    """
    parser = argparse.ArgumentParser(prog=f"{layer}/job.py", description=description)
    parser.add_argument("--once", action="store_true", help="catch up with what is there, then end")
    once = parser.parse_args().once

    def work(spark: SparkSession, settings: Settings, stop: Stop) -> None:
        refuse_unfinished(spark, settings)
        follow(spark, settings, stop, once)

    sys.exit(in_session(layer, (layer, *also), work))


def in_session(
    name: str,
    layers: tuple[str, ...],
    work: Callable[[SparkSession, Settings, Stop], None],
    wait: Callable[[Settings, Stop], bool] = lambda _settings, _stop: True,
    settings: Settings | None = None,
) -> int:
    """Does the work as the one writer of these layers. Out: the process's exit code.

    :param wait: for what the work needs, before Spark is started. Out: False: there is nothing to do.
    :param settings: without them, those of the environment.
    """
    log_visibly()
    for noisy in ("httpx2", "kafka", "py4j"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    ask_directly(os.environ)
    log = logging.getLogger("lakehouse")
    stop = Stop().listen()
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        threading.Thread(target=_stop_with_parent, args=(os.getppid(), stop), daemon=True).start()
    try:
        settings = settings or load_settings()
        bound(settings)
        if wait(settings, stop):
            with writer_of(layers, settings):
                log.info("%s: starting Spark", name)
                with ExitStack() as until_done:
                    try:
                        with stop.nothing_begun():
                            spark = until_done.enter_context(spark_session(f"storefront {name}", settings))
                    except StoppedError:
                        log.info("%s: stopped while Spark started", name)
                        return 0
                    work(spark, settings, stop)
    except LakehouseError as error:
        log.error("%s: %s", name, error)
        return 1
    except KeyboardInterrupt:
        log.info("%s: ended at once; the next start goes on from what is written", name)
        return 130
    log.info("%s: %s", name, "stopped" if stop.is_set() else "caught up")
    return 0


def _stop_with_parent(parent: int, stop: Stop) -> None:
    """spark-submit that is ended does not tell its Python, which without a session would wait on for ever."""
    while os.getppid() == parent:
        time.sleep(1.0)
    stop.set()
