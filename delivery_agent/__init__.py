"""The one process that keeps root while strangers are served, and only delivers."""
