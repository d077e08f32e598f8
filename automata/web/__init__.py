"""The console: pages over what the API reads and writes, rendered here, with htmx for what moves."""
