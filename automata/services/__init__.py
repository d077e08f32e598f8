"""The loops that make runs move."""
