"""The sections of a report, one per file: from a study to what a template shows."""
