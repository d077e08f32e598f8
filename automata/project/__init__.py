"""Reads a flows repository, at one commit or on disk: the one reader that validate, check and sync share."""
