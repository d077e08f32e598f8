"""What Alembic runs: the migrations on the connection that `automata.store.migrate` hands over."""

from alembic import context

from automata.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    # One migration, one transaction: a kill leaves whole migrations, and the next run goes on from there.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
