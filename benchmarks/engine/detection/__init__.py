"""What is found in test volumes beside the paper's numbers: how it is measured, and each volume's lines."""
