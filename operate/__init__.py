import os

# delta-rs reads it when it is imported. On HDFS it warns of each of many attempts to reach a DataNode that is away, and
# reads from another; what it cannot read it raises.
os.environ.setdefault("RUST_LOG", "error")
