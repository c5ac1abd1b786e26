"""What zeros there are in weights, and what they are structured by."""
