"""Gold's topics -> those who read them."""
