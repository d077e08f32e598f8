"""The sandbox: the production engine and step code in memory, on a virtual clock, against mocks."""
