"""What a running cell says of itself: how far it is, its curve, its machine. None of it is part of its numbers."""
