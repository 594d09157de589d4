"""Migrations of the schema, in order; each is as it was when it was released, whatever `infra.tables` says now."""
