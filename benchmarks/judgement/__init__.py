"""What many cells say together: which method is better, how sure that is, for whom, and at what price."""
