"""What a Detector must do, and the checks that hold it to that."""
