"""A change on a branch, from its first push to its merge: checked, approved, applied."""
