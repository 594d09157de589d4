"""Everything numeric: arrays in, frozen results out. Knows no orchestration, no tracking and no store."""
