"""What the training loop stands on: recipes, rates, processes, records."""
