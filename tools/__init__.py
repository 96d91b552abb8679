"""What the repository is built with."""
