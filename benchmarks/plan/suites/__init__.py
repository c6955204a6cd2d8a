"""The built-in suites, one TOML file a table."""
