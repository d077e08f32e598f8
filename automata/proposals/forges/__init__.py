"""The services that host pull requests: one contract, one file a forge, and what proposals do with them."""
