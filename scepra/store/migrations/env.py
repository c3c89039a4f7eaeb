"""How Alembic runs the migrations: in the transaction that :func:`scepra.store.schema.upgrade` has begun."""

from alembic import context

from scepra.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
