"""The tables as they are after all migrations, in the words of SQLAlchemy.

They are for people and for one proof: a test migrates an empty database and compares it with them, so who changes a
table writes a migration, and the other way round. No statement is built from them. Reads are SQL, because their plans
hang on how a condition is written; filters are put together by store/where.py, without the import of SQLAlchemy that
every process and command would wait for.
"""

from automata.store.tables import access, flows, git, runs, system
from automata.store.tables.columns import metadata

__all__ = ["access", "flows", "git", "metadata", "runs", "system"]
