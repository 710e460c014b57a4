"""Index versions: how they are described, built, kept up to date, checked, promoted and dropped."""
