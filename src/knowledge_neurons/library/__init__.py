"""The library's face, method by method, and the results that it gives."""
