"""Records that travel: packed into an archive on one machine, checked and taken in on another."""
