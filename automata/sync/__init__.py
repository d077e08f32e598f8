"""From a commit to immutable versions."""
