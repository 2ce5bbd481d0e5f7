"""The tables as SQLAlchemy sees them, for queries. migrations.py creates them."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

events = Table(
    "events",
    METADATA,
    Column("sequence", BigInteger, primary_key=True),
    Column("event_key", LargeBinary(16)),
    Column("user_id", Text),
    Column("item_id", Text),
    Column("event_type", Text),
    Column("value", Float),
    Column("timestamp", BigInteger),
    Column("event_id", Text),
    Column("recommendation_id", Text),
)

partitions = Table(
    "partitions",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("first_sequence", BigInteger),
    Column("last_sequence", BigInteger),
    Column("n_events", BigInteger),
    Column("first_timestamp", BigInteger),
    Column("last_timestamp", BigInteger),
)

log_identity = Table("log_identity", METADATA, Column("id", Text))
"""One row: what this log's partitions carry."""

replaced_partitions = Table("replaced_partitions", METADATA, Column("name", Text, primary_key=True))
"""Partitions that count no more, and whose files are to go."""

archived_keys = Table("archived_keys", METADATA, Column("event_key", LargeBinary(16), primary_key=True))

ingests = Table(
    "ingests",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("fingerprint", Text),
    Column("line", BigInteger),
    Column("finished", Integer),
    Column("updated_at", BigInteger),
)

intakes = Table(
    "intakes",
    METADATA,
    Column("source", Text),
    Column("at", BigInteger),
    Column("rows_read", BigInteger),
    Column("rows_bad", BigInteger),
)

items = Table(
    "items",
    METADATA,
    Column("item_id", Text, primary_key=True),
    Column("title", Text),
    Column("year", Integer),
    Column("categories", Text),
    Column("available", Boolean),
    Column("hidden", Boolean),
    Column("extra", Text),
    Column("updated_at", BigInteger),
)

deleted_users = Table(
    "deleted_users",
    METADATA,
    Column("user_key", LargeBinary(16), primary_key=True),
    Column("deleted_at", BigInteger),
    Column("last_sequence", BigInteger),
)

item_version = Table("item_version", METADATA, Column("last", BigInteger))

item_changes = Table(
    "item_changes",
    METADATA,
    Column("item_id", Text, primary_key=True),
    Column("version", BigInteger),
)

recommendations = Table(
    "recommendations",
    METADATA,
    Column("recommendation_id", Text, primary_key=True),
    Column("user_key", LargeBinary(16)),
    Column("model_version", Text),
    Column("strategy", Text),
    Column("experiment", Text),
    Column("variant", Text),
    Column("served_at", BigInteger),
)
