# Asks DuckDB: the pattern of the files, then the statement with {flows} for the table. Without a statement
# it only opens a database, which is what the others are measured over. Prints the last column, a row a line.
import sys

import duckdb

database = duckdb.connect()
database.execute("SET threads = 2; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
if len(sys.argv) > 2:
    types = "{'iface': VARCHAR, 'date': DATE}"
    flows = f"read_parquet('{sys.argv[1]}', hive_partitioning = true, hive_types = {types})"
    for row in database.execute(sys.argv[2].replace("{flows}", flows)).fetchall():
        print(row[-1])
else:
    print(duckdb.__version__)
