"""The tables are as the code describes them."""

import sqlalchemy as sa

from services.campus.store.tables import metadata


def test_the_migrations_make_the_tables_of_the_code(make_database):
    engine = sa.create_engine(make_database("campus"))
    inspector = sa.inspect(engine)
    try:
        for table in metadata.sorted_tables:
            stored = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
            assert stored == {column.name: column.nullable for column in table.columns}, table.name
            assert inspector.get_pk_constraint(table.name)["constrained_columns"] == [
                column.name for column in table.primary_key
            ]
            indexes = {index["name"] for index in inspector.get_indexes(table.name)}
            assert {index.name for index in table.indexes} <= indexes, table.name
    finally:
        engine.dispose()
