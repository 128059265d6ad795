"""What tests of this package, and of others against it, run as servers."""
