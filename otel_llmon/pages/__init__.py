"""Pages: one HTML file each, which opens without a network and runs no script."""
