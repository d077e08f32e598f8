"""What a step does."""
