"""Compare the folded network with the trained one: measure, judge, report."""
