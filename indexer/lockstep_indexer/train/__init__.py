"""Fine-tunes embedding models."""
