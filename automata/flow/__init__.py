"""What a flow means. Pure: no clock, no network, no database."""
