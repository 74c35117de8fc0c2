#!/usr/bin/env bash
# Spark's launcher reads this before each start and exports what it sets, so that `spark-submit` needs no environment.
# `make setup` fills in the names between at signs.

# Logs, and what is shuffled and spilled, are for this account alone.
umask 077

# A suitable JAVA_HOME wins (17, 21, or 25 but for its first builds, in which G1 corrupts data); else the one that setup chose.
if [ "${JAVA_HOME:-}" != "@JAVA_HOME@" ] && [ -x "${JAVA_HOME:-}/bin/java" ] && [ -r "${JAVA_HOME:-}/release" ]; then
  case $(sed -n 's/^JAVA_VERSION="\(.*\)"/\1/p' "$JAVA_HOME/release") in
    25 | 25.0.[0-2] | 25.0.[0-2].*) ;;
    17 | 17.* | 21 | 21.* | 25.*) REAL_JAVA=$JAVA_HOME/bin/java ;;
  esac
fi
JAVA_HOME="@JAVA_HOME@"

# The workers must run the same Python as the driver.
PYSPARK_PYTHON=${PYSPARK_PYTHON:-"@PYTHON@"}
PYSPARK_DRIVER_PYTHON=${PYSPARK_DRIVER_PYTHON:-"@PYTHON@"}

# Where log4j2.properties writes. The launcher becomes the JVM by `exec`, so $$ is the JVM's process id.
SPARK_LOG_FILE=${LAKEHOUSE_LOG_FILE:-${SPARK_LOG_FILE:-${LAKEHOUSE_HOME:-.lakehouse}/logs/spark-$$.log}}
SPARK_LOG_PATTERN=${SPARK_LOG_FILE//%/%%}
