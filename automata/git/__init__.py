"""pygit2 and nothing else."""
