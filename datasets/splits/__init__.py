"""Who trains, validates and tests, and the audit of that."""
