"""What MLflow is told, how and when."""
