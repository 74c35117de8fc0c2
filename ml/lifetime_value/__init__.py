"""What customers will spend: BG/NBD and Gamma-Gamma, from the summary of purchases to scores."""
