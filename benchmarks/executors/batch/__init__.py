"""The parts of the SLURM executor: the user's words, jobs on the queue, arrays on the disk, and what a job does."""
