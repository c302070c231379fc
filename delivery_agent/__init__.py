"""Who keeps root while strangers are served: it only delivers, and opens the files that the options name."""
