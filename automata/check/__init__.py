"""Proves a change before it is merged: its stages, the cases and recordings that they use, and their report."""
