"""What the paper does with neurons: one module per experiment."""
