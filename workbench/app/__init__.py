"""The dashboard: Panel pages over runs on disk. Imports everything; imported by nothing but the command line."""
