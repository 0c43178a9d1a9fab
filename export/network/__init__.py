"""A network of the user's: its module with its weights, its images, and the options naming them."""
