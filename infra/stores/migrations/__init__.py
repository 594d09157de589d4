"""Migrations of the schema, in order; each is as it was when it was released, whatever `royalty.infra.stores.tables`
says now.
"""
