"""What models are trained on: examples, where they come from, and what is wrong with them."""
