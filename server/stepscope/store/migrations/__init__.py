"""The steps from an empty database to today's tables, run by alembic. A step that was released never changes."""
