"""Model versions: immutable, content-addressed encoders, verified before every use."""
