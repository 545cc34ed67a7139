"""Programs that keep the repository's pages true."""
