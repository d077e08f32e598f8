"""One report, many formats."""
