"""The demo: a small real shop, a flows repository, and the product working between them."""
