"""Work in groups, one writer."""
