"""The use cases by the product's verbs, which the REST API and the console share. No web framework is known here."""
