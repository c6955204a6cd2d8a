"""What MLflow's pages show: the description, a prepared view, and the interface itself."""
