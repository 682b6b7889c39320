"""How good a model is: a judge that looks at its pictures, prompts, measures and a report."""
