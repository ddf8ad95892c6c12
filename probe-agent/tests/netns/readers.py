"""Prints what DuckDB and Polars make of a tree of Parquet files: the sums of everything.

    readers.py TREE
"""

import json
import sys

import duckdb
import polars as pl

FILES = f"{sys.argv[1]}/**/*.parquet"
COLUMNS = ["packets_rcvd", "packets_sent", "bytes_rcvd", "bytes_sent"]


def labelled(row):
    received_packets, sent_packets, received_bytes, sent_bytes = map(int, row)
    return {
        "packets": [received_packets, sent_packets],
        "bytes": [received_bytes, sent_bytes],
    }


sums = ", ".join(f"sum({column})" for column in COLUMNS)
by_duckdb = duckdb.sql(f"SELECT {sums} FROM read_parquet('{FILES}')").fetchall()[0]
by_polars = pl.scan_parquet(FILES).select(pl.sum(*COLUMNS)).collect().row(0)
print(json.dumps({"duckdb": labelled(by_duckdb), "polars": labelled(by_polars)}))
