"""The layers on a cluster of Spark with a lake on HDFS, hurt on the way, and compared with a plain calculation."""
