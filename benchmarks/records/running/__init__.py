"""What a running cell says of itself beside its progress: its curve, and what its machine does."""
