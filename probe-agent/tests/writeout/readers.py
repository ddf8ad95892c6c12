"""Runs the examples of docs/STORAGE.md on a tree, then prints the sums that DuckDB, Polars and ClickHouse see.

    readers.py STORAGE.md TREE FILE-OF-THE-TREE [--as-it-is]

Some files get the schema of older versions first, unless the tree is to stay as it is.
"""

import json
import re
import sys
from pathlib import Path

import chdb
import duckdb
import polars as pl

document, root, a_file = sys.argv[1:4]

DOCUMENTED_ROOT = "/var/lib/probe/flows"
TYPES = {
    "interval_start": "TIMESTAMP WITH TIME ZONE",
    "interval_end": "TIMESTAMP WITH TIME ZONE",
    "ip_version": "UTINYINT",
    "src_addr": "VARCHAR",
    "src_port": "USMALLINT",
    "bytes_rcvd": "UBIGINT",
    "overflow": "BOOLEAN",
    "first_seen": "TIMESTAMP WITH TIME ZONE",
    "last_seen": "TIMESTAMP WITH TIME ZONE",
    "host": "VARCHAR",
    "iface": "VARCHAR",
    "date": "DATE",
}


# What older versions of the schema lack, by the names of the files that are to have them.
OLDER = {
    "20260228T235000": ["first_seen", "last_seen", "host"],
    "20260228T235500": ["host"],
}


def age_files():
    """Gives files the schema that earlier versions wrote."""
    connection = duckdb.connect()
    aged = 0
    for path in Path(root).glob("**/*.parquet"):
        lacks = OLDER.get(path.name.split(".")[0])
        if lacks is None:
            continue
        metadata = connection.execute(
            "SELECT decode(key), decode(value) FROM parquet_kv_metadata($1)", [str(path)]
        ).fetchall()
        quoted = [f"'{key}': '{value.replace(chr(39), chr(39) * 2)}'" for key, value in metadata]
        older = path.with_name(f".{path.name}.older")
        connection.execute(
            f"COPY (SELECT * EXCLUDE ({', '.join(lacks)}) "
            f"FROM read_parquet('{path}', hive_partitioning = false)) "
            f"TO '{older}' (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{', '.join(quoted)}}})"
        )
        older.rename(path)
        aged += 1
    assert aged > len(OLDER), "there are files of every version"


def sums_of_clickhouse(code):
    """Sums by interface, of the table of the example. No reader of ours reads ledgers with ClickHouse."""
    table = re.search(r"FROM file\(.*\$\$\)", code, re.S).group(0).replace(DOCUMENTED_ROOT, root)
    counts = ["packets_rcvd", "packets_sent", "bytes_rcvd", "bytes_sent"]
    columns = ", ".join(f"sum({count})" for count in counts)
    statement = (
        "SELECT decodeURLComponent(extract(_path, 'iface=([^/]+)')) AS iface, count(), "
        f"{columns} {table} GROUP BY iface SETTINGS use_hive_partitioning = 0"
    )
    return [json.loads(line) for line in str(chdb.query(statement, "JSONCompactEachRow")).splitlines()]


def run_clickhouse(code):
    """Runs the example, and compares it with what DuckDB sees."""
    statement = code.replace(DOCUMENTED_ROOT, root)
    rows = [json.loads(line) for line in str(chdb.query(statement, "JSONEachRow")).splitlines()]
    assert rows, "no rows"
    for row in rows:
        seen = duckdb.execute(
            "SELECT sum(bytes_rcvd), sum(bytes_sent) FROM read_parquet($1, union_by_name = true, "
            "hive_partitioning = true, hive_types = {'iface': VARCHAR, 'date': DATE}) "
            "WHERE iface = $2 AND src_addr = $3 AND dst_addr = $4 AND dst_port = $5 "
            "AND ip_protocol = $6",
            [f"{root}/**/*.parquet"]
            + [row[key] for key in ["iface", "src_addr", "dst_addr", "dst_port", "ip_protocol"]],
        ).fetchall()[0]
        assert [int(row["rcvd"]), int(row["sent"])] == [int(sum) for sum in seen], row


def run_examples():
    with open(document, encoding="utf-8") as file:
        blocks = re.findall(r"^```(sql|python|clickhouse)\n(.*?)^```$", file.read(), re.M | re.S)
    languages = {language for language, _ in blocks}
    assert languages == {"sql", "python", "clickhouse"}, "examples are missing"
    connection = duckdb.connect()
    scope = {}
    for language, code in blocks:
        code = re.sub(re.escape(DOCUMENTED_ROOT) + r"/iface=[^*'\"]*\.parquet", a_file, code)
        code = code.replace(DOCUMENTED_ROOT, root)
        if language == "clickhouse":
            run_clickhouse(code)
            scope["clickhouse"] = sums_of_clickhouse(code)
            continue
        if language == "python":
            exec(code, scope)
            continue
        for statement in duckdb.extract_statements(code):
            if "CREATE VIEW" in statement.query:
                connection.execute(statement)
                continue
            # Not fetched: for a TIMESTAMPTZ that takes the pytz module.
            connection.execute(f"CREATE OR REPLACE TABLE example AS {statement.query}")
            assert connection.table("example").shape[0] > 0, f"no rows: {statement.query}"
    return connection, scope["flows"], scope["ledgers"], scope["clickhouse"]


def sums(rows, ledgers):
    ledgers = {iface: counts for iface, *counts in ledgers}
    # An interface whose intervals were all quiet has a ledger and no rows.
    flows = {iface: [0] * 5 for iface in ledgers} | {iface: counts for iface, *counts in rows}
    return {
        iface: {
            "flows": int(flows[iface][0]),
            "packets": [int(count) for count in flows[iface][1:3]],
            "bytes": [int(count) for count in flows[iface][3:5]],
            "ledger": dict(zip(["intervals", "seen", "lost", "residue"], map(int, counts))),
        }
        for iface, counts in ledgers.items()
    }


if "--as-it-is" not in sys.argv:
    age_files()
connection, polars_flows, polars_ledgers, clickhouse_sums = run_examples()
types = dict(connection.sql("SELECT column_name, column_type FROM (DESCRIBE flows)").fetchall())
assert {name: types[name] for name in TYPES} == TYPES, types

duckdb_ledgers = connection.sql(
    "SELECT iface, count(*), sum(seen), sum(seen - flows), sum(residue) FROM ledgers GROUP BY iface"
).fetchall()
by_duckdb = sums(
    connection.sql(
        "SELECT iface, count(*), sum(packets_rcvd), sum(packets_sent), sum(bytes_rcvd), "
        "sum(bytes_sent) FROM flows GROUP BY iface"
    ).fetchall(),
    duckdb_ledgers,
)
by_clickhouse = sums(clickhouse_sums, duckdb_ledgers)
by_polars = sums(
    polars_flows.group_by("iface")
    .agg(
        pl.len(),
        pl.sum("packets_rcvd"),
        pl.sum("packets_sent"),
        pl.sum("bytes_rcvd").alias("received"),
        pl.sum("bytes_sent").alias("sent"),
    )
    .collect()
    .rows(),
    polars_ledgers.group_by("iface")
    .agg(
        pl.len(),
        pl.sum("seen"),
        (pl.col("seen") - pl.col("flows")).sum().alias("lost"),
        pl.sum("residue"),
    )
    .rows(),
)
assert polars_flows.collect_schema()["interval_start"] == pl.Datetime("us", "UTC")
assert polars_flows.collect_schema()["last_seen"] == pl.Datetime("us", "UTC")
assert polars_flows.collect_schema()["bytes_rcvd"] == pl.UInt64
# Of three intervals of each flow, the first has no times and only the last has the host.
COUNTS = "count(*), count(first_seen), count(host)"
assert connection.sql(f"SELECT {COUNTS} FROM flows").fetchall()[0] == tuple(
    polars_flows.select(pl.len(), pl.count("first_seen"), pl.count("host")).collect().row(0)
), "both see the same fields missing"
every, timed, hosted = connection.sql(f"SELECT {COUNTS} FROM flows").fetchall()[0]
assert (timed * 3, hosted * 3) == (every * 2, every), (every, timed, hosted)
IN_ORDER = "interval_start <= first_seen AND first_seen <= last_seen AND last_seen <= interval_end"
assert connection.sql(f"SELECT bool_and({IN_ORDER}) FROM flows").fetchall() == [(True,)]
print(json.dumps({"duckdb": by_duckdb, "polars": by_polars, "clickhouse": by_clickhouse}))
