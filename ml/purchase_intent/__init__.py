"""Which open carts will be bought: features known when a cart opens, a model of trees, scores."""
