"""What namespaces have to do about single third-party libraries, a file for each."""
