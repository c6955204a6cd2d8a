"""The built-in suites, one TOML file per table."""
