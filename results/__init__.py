"""Tables that travel with the package: what others published. Runs of one's own land beside it, git-ignored."""
